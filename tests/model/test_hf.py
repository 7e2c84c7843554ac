"""Encoders of HuggingFace transformers, from tiny folders that are made here, without network."""

import json
import socket

import pytest
import torch
from model_cases import DNA, tokens_of

from seqmodel.dataset.seq.alphabet import PROTEIN
from seqmodel.errors import HparamError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.model import HfHparams
from seqmodel.model import adapt_encoder, build_encoder

transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 80,
}
ESM_WORDS = ["<cls>", "<pad>", "<eos>", "<unk>", *PROTEIN.letters, "X", "<mask>"]
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "A", "C", "G", "T", "N"]
KMER_WORDS = [*BERT_WORDS, "##A", "##C", "##G", "##T", "##ACG", "AC", "GT", "TTA"]


def bert_folder(folder, words):
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(
        vocab={word: i for i, word in enumerate(words)}, do_lower_case=False
    ).save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(words), **SIZES)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def bert(tmp_path, no_network):
    return bert_folder(tmp_path, BERT_WORDS)


@pytest.fixture
def esm(tmp_path, no_network):
    (tmp_path / "vocab.txt").write_text("\n".join(ESM_WORDS))
    transformers.EsmTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.EsmConfig(
        vocab_size=len(ESM_WORDS),
        mask_token_id=ESM_WORDS.index("<mask>"),
        pad_token_id=1,
        position_embedding_type="rotary",
        token_dropout=True,
        **SIZES,
    )
    torch.manual_seed(0)
    transformers.EsmModel(config).save_pretrained(tmp_path)
    return tmp_path


def encoder_of(folder, alphabet, **hparams):
    return build_encoder(HfHparams(hf_path=str(folder), **hparams), alphabet)


def hidden_by_hand(folder, ids, mask=None):
    model = transformers.AutoModel.from_pretrained(folder).eval()
    return model(input_ids=ids, attention_mask=mask).last_hidden_state


def ids_of(words, row, alphabet, special):
    names = [*alphabet.letters, special["mask"], "", ""]
    letters = [words.index(names[i]) for i in row.tolist()]
    return [words.index(special["cls"]), *letters, words.index(special["sep"])]


@pytest.mark.parametrize("kind", ["bert", "esm"])
def test_hidden_states_are_those_of_the_model_on_its_own_ids(kind, request):
    folder = request.getfixturevalue(kind)
    alphabet, words, special = {
        "bert": (DNA, BERT_WORDS, {"cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}),
        "esm": (PROTEIN, ESM_WORDS, {"cls": "<cls>", "sep": "<eos>", "mask": "<mask>"}),
    }[kind]
    encoder = encoder_of(folder, alphabet).eval()
    x = tokens_of(2, 12, n_ids=alphabet.n_letters)
    x[0, 5] = x[1, 0] = x[1, 1] = alphabet.mask_id
    ids = torch.tensor([ids_of(words, row, alphabet, special) for row in x])
    torch.testing.assert_close(encoder(x), hidden_by_hand(folder, ids)[:, 1:-1])
    # a padded row: what follows the letters stands before the padding
    pad = torch.zeros(2, 12, dtype=torch.bool)
    pad[1, 7:] = True
    short = torch.tensor([ids_of(words, x[1, :7], alphabet, special)])
    expected = hidden_by_hand(folder, short)[:, 1:-1]
    torch.testing.assert_close(encoder(x, pad)[1:, :7], expected)
    one_hot = torch.from_numpy(alphabet.one_hot_table())[x.long()]
    torch.testing.assert_close(encoder(one_hot, pad), encoder(x, pad))


@pytest.mark.parametrize("kind", ["bert", "esm"])
def test_gradients_reach_every_parameter(kind, request):
    alphabet = {"bert": DNA, "esm": PROTEIN}[kind]
    encoder = encoder_of(request.getfixturevalue(kind), alphabet)
    x = tokens_of(3, 20, n_ids=alphabet.n_tokens)
    encoder(x).pow(3).sum().backward()
    for name, parameter in encoder.named_parameters():
        # word embeddings: not those of letters that do not occur, but some
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or "key.bias" in name, name


def test_tokens_of_several_letters_give_their_vector_to_each(tmp_path, no_network):
    folder = bert_folder(tmp_path, KMER_WORDS)
    encoder = encoder_of(folder, DNA).eval()
    x = torch.from_numpy(DNA.encode("TTAACGACG"))[None]  # one word: TTA ##ACG ##ACG
    ids = [KMER_WORDS.index(w) for w in ("[CLS]", "TTA", "##ACG", "##ACG", "[SEP]")]
    hidden = hidden_by_hand(folder, torch.tensor([ids]))[0]
    torch.testing.assert_close(encoder(x)[0], hidden[1:4].repeat_interleave(3, 0))
    with pytest.raises(ValueError, match="one token for each base"):
        encoder(torch.eye(4)[x.long()])


def test_new_weights_are_used_when_asked_for(bert):
    x = tokens_of(1, 9)
    torch.manual_seed(1)
    old, again = (encoder_of(bert, DNA).eval()(x) for _ in range(2))
    new = encoder_of(bert, DNA, hf_pretrained=False).eval()(x)
    torch.testing.assert_close(old, again)
    assert not torch.allclose(old, new)


def test_code_in_the_folder_is_not_run_unless_told(bert, tmp_path):
    ran = tmp_path / "ran"
    (bert / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\nclass M: pass\n")
    config = json.loads((bert / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (bert / "config.json").write_text(json.dumps(config))
    with pytest.raises(HparamError, match="hf_trust_remote_code"):
        encoder_of(bert, DNA)
    assert not ran.exists()


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(HparamError, match=r"nothing is downloaded"):
        encoder_of(tmp_path / "absent", DNA)
    values = parse_dict(HfHparams.default_hparams(), {})
    with pytest.raises(HparamError, match="--encoder=hf needs --hf_path"):
        HfHparams.checks(values)


def test_layers_are_found_for_freezing_and_adapters(bert):
    frozen = adapt_encoder(encoder_of(bert, DNA), HfHparams(freeze_layers=1))
    trained = {name for name, p in frozen.named_parameters() if p.requires_grad}
    assert trained
    assert all("layer.1." in name for name in trained)
    adapted = adapt_encoder(encoder_of(bert, DNA), HfHparams(lora_rank=2))
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(names) == 2 * 6 * 2
    assert all("lora_" in name for name in names)
