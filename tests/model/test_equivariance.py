"""The reverse complement: of batches, of encoders that claim equivariance, of whole tasks."""

import pytest
import torch
from model_cases import CASES, DNA, encoder_of, tokens_of
from task_cases import THREE_CLASSES, task_of

from seqmodel.dataset.seq.alphabet import PROTEIN
from seqmodel.errors import HparamError, SequenceError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.model import TransformerHparams
from seqmodel.hparam.task import ClassifyHparams, MaskedHparams
from seqmodel.model import build_encoder
from seqmodel.model.equivariant import swap_strands
from seqmodel.model.strand import reverse_complement, reverse_outputs

SYMMETRIC = [case for case, hparams in CASES.items() if hparams.rc_equivariant]
PAD = torch.arange(32)[None] >= torch.tensor([[32], [16], [4]])


def by_hand(rows, lengths):
    out = rows.clone()
    for row, n in enumerate(lengths):
        letters = DNA.decode(rows[row, :n].numpy())
        other = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))
        out[row, :n] = torch.from_numpy(DNA.encode(other))
    return out


@pytest.mark.parametrize("padded", [False, True])
def test_reverse_complement_is_that_of_the_text(padded):
    pad = PAD if padded else None
    x = tokens_of(3, 32).masked_fill(PAD & padded, DNA.pad_id)
    lengths = (~PAD).sum(1).tolist() if padded else [32] * 3
    other = reverse_complement(x, DNA, pad)
    assert torch.equal(other, by_hand(x, lengths))
    assert torch.equal(reverse_complement(other, DNA, pad), x)
    table = torch.from_numpy(DNA.one_hot_table())
    assert torch.equal(reverse_complement(table[x.long()], DNA, pad), table[other.long()])


def test_control_tokens_are_their_own_complement():
    control = torch.tensor([[DNA.mask_id, DNA.unknown_id, 0]], dtype=torch.uint8)
    expected = torch.tensor([[3, DNA.unknown_id, DNA.mask_id]], dtype=torch.uint8)
    assert torch.equal(reverse_complement(control, DNA), expected)


@pytest.mark.parametrize("case", SYMMETRIC)
@pytest.mark.parametrize("padded", [False, True])
def test_symmetric_encoders_are_equivariant(case, padded):
    encoder, x = encoder_of(case).eval(), tokens_of(3, 32)
    pad = PAD if padded else None
    here, there = encoder(x, pad), encoder(reverse_complement(x, DNA, pad), pad)
    expected = reverse_outputs(swap_strands(here), encoder.out_pad(pad))
    keep = torch.ones(3, here.shape[1], dtype=torch.bool) if pad is None else ~encoder.out_pad(pad)
    torch.testing.assert_close(there[keep], expected[keep])
    assert not torch.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("case", SYMMETRIC)
def test_both_strands_have_the_parameters_of_one(case):
    symmetric = sum(p.numel() for p in encoder_of(case).parameters())
    assert symmetric == sum(p.numel() for p in encoder_of(case.replace("-rc", "")).parameters())


@pytest.mark.parametrize("case", [c for c in CASES if c not in SYMMETRIC and "causal" not in c])
def test_other_encoders_are_not_equivariant(case):
    encoder, x = encoder_of(case).eval(), tokens_of(3, 32)
    there = encoder(reverse_complement(x, DNA))
    assert not torch.allclose(there, encoder(x).flip(1), atol=1e-2)


def test_a_symmetric_classifier_gives_both_strands_one_prediction_while_training_too():
    encoder = TransformerHparams(n_dims=8, n_layers=1, dropout=0.0, rc_equivariant=True)
    task = task_of(ClassifyHparams(), THREE_CLASSES, encoder=encoder).train()
    x = tokens_of(5, 21)
    torch.testing.assert_close(task(x), task(reverse_complement(x, DNA)))
    assert not torch.allclose(task(x), task(x.flip(1)), atol=1e-5)


def test_symmetric_letter_predictions_are_complementary():
    encoder = TransformerHparams(n_dims=8, n_layers=1, dropout=0.0, rc_equivariant=True)
    task = task_of(MaskedHparams(), encoder=encoder).train()
    x = tokens_of(5, 21)
    here, there = task(x), task(reverse_complement(x, DNA))
    torch.testing.assert_close(there, here.flip(1).flip(2))  # A C G T: the complement is a flip
    assert not torch.allclose(there, here.flip(1), atol=1e-5)


def test_an_alphabet_without_complement_is_refused():
    with pytest.raises(SequenceError, match="'protein' has no complement"):
        build_encoder(TransformerHparams(n_dims=8, rc_equivariant=True), PROTEIN)


def test_a_causal_symmetric_model_is_refused():
    values = parse_dict(
        TransformerHparams.default_hparams(), {"causal": True, "rc_equivariant": True}
    )
    with pytest.raises(HparamError, match="reverse strand would reveal later positions"):
        TransformerHparams.checks(values)
