"""What every encoder must hold to, whatever its options."""

import math

import pytest
import torch
from model_cases import CASES, DNA, ENCODERS, changed, classifier_of, encoder_of, tokens_of
from torch.nn.functional import cross_entropy

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import HparamError
from seqmodel.hparam.model import PositionHparams
from seqmodel.model import build_decoder, build_encoder

every_case = pytest.mark.parametrize("case", CASES)
SEQ_LEN = 32
CAUSAL = [case for case, hparams in CASES.items() if hparams.causal]
TWO_SIDED = [case for case in CASES if case not in CAUSAL]


@every_case
def test_rows_of_a_batch_are_independent(case):
    encoder, x = encoder_of(case).eval(), tokens_of(4, SEQ_LEN, n_ids=DNA.n_tokens)
    together = encoder(x)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], encoder(x[i : i + 1]))


@every_case
def test_output_has_the_declared_shape(case):
    encoder = encoder_of(case).eval()
    for seq_len in (1, 7, SEQ_LEN):
        out = encoder(tokens_of(2, seq_len))
        assert out.shape == (2, math.ceil(seq_len / encoder.stride), encoder.n_out)


@every_case
@pytest.mark.parametrize("length", [11, 16, 31])
def test_padding_changes_nothing(case, length):
    encoder = encoder_of(case).eval()
    decoder = classifier_of(encoder)
    x = tokens_of(3, SEQ_LEN)
    pad = torch.zeros(3, SEQ_LEN, dtype=torch.bool)
    pad[1, length:] = True
    alone = encoder(x[1:2, :length])
    other = torch.where(pad, DNA.pad_id, x)  # what stands under the padding does not matter
    for padded in (x, other):
        encoded, out_pad = encoder(padded, pad), encoder.out_pad(pad)
        assert (~out_pad[1]).sum() == alone.shape[1]
        torch.testing.assert_close(encoded[1:2, : alone.shape[1]], alone)
        torch.testing.assert_close(decoder(encoded, out_pad)[1:2], decoder(alone))
        torch.testing.assert_close(encoded[0], encoder(x[:1])[0])


@pytest.mark.parametrize("case", CAUSAL)
def test_causal_models_do_not_see_the_future(case):
    encoder, x = encoder_of(case).eval(), tokens_of(1, SEQ_LEN)
    before = encoder(x)
    for i in (1, 9, SEQ_LEN - 1):
        changed = x.clone()
        changed[:, i:] = (x[:, i:] + 1) % DNA.n_letters
        after = encoder(changed)
        torch.testing.assert_close(after[:, :i], before[:, :i], rtol=0, atol=1e-6)
        assert not torch.allclose(after[:, i], before[:, i], atol=1e-4)


@pytest.mark.parametrize("case", TWO_SIDED)
def test_other_models_see_both_sides(case):
    encoder, x = encoder_of(case).eval(), tokens_of(1, SEQ_LEN)
    grad = torch.autograd.functional.jacobian(
        lambda one_hot: encoder(one_hot)[0, encoder(x).shape[1] // 2].pow(2).sum(),
        torch.eye(4)[x.long()],
    )
    reached = grad[0].abs().sum(-1) > 0
    assert reached[SEQ_LEN // 2 - 2 : SEQ_LEN // 2 + 3].all()


@every_case
@pytest.mark.parametrize("unknown", ["uniform", "zeros"])
def test_one_hot_and_token_inputs_agree(case, unknown):
    alphabet = Alphabet(
        "dna", DNA.letters, DNA.ambiguous, complement=DNA.complement, unknown=unknown
    )
    torch.manual_seed(0)
    encoder = build_encoder(CASES[case], alphabet).eval()
    x = tokens_of(2, SEQ_LEN, n_ids=DNA.n_tokens)
    one_hot = torch.from_numpy(alphabet.one_hot_table())[x.long()]
    torch.testing.assert_close(encoder(one_hot), encoder(x))
    assert not torch.allclose(encoder(x), encoder(x.flip(0)))


@every_case
def test_gradients_reach_every_parameter(case):
    encoder = encoder_of(case).train()
    decoder = classifier_of(encoder)
    x = tokens_of(8, SEQ_LEN)
    x[:, 3] = DNA.mask_id
    x[:, 4] = DNA.unknown_id
    out = decoder(encoder(x))
    cross_entropy(out, torch.arange(8) % 2).backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert parameter.grad.isfinite().all(), name


@every_case
def test_loss_at_initialisation_is_that_of_a_guess(case):
    encoder = encoder_of(case).train()
    if encoder.stride > 1:
        decoder, target = classifier_of(encoder, 4), torch.arange(32) % 4
    else:
        decoder = build_decoder(PositionHparams(), encoder, 4)
        target = tokens_of(32, SEQ_LEN, seed=5).long().flatten()
    out = decoder(encoder(tokens_of(32, SEQ_LEN)))
    loss = cross_entropy(out.flatten(0, -2), target)
    assert loss.item() == pytest.approx(math.log(4), rel=0.05)


@pytest.mark.slow
@every_case
def test_overfits_eight_samples(case):
    encoder = encoder_of(case).train()
    decoder = classifier_of(encoder)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    x, target = tokens_of(8, SEQ_LEN, seed=3), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    for _ in range(100):
        optimiser.zero_grad()
        loss = cross_entropy(decoder(encoder(x)), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02
    assert decoder(encoder.eval()(x)).argmax(1).tolist() == target.tolist()


@every_case
def test_modules_are_used_once_in_a_pass(case):
    # tools that attribute by hooks (DeepLIFT) need it
    encoder = encoder_of(case).eval()
    calls: dict[str, int] = {}
    for name, module in encoder.named_modules():
        module.register_forward_hook(
            lambda *_, name=name: calls.__setitem__(name, calls.get(name, 0) + 1)
        )
    encoder(tokens_of(2, SEQ_LEN))
    twice = {name for name, n in calls.items() if n > 1}
    assert not twice
    assert calls[""] == 1


@pytest.mark.parametrize("name", ENCODERS)
def test_a_checkpointed_model_has_the_same_gradients_and_computes_each_block_again(name):
    grads, calls = [], []
    for again in (False, True):
        torch.manual_seed(0)
        encoder = build_encoder(changed(name, checkpoint_activations=again), DNA).train()
        for block in encoder.blocks:
            block.register_forward_pre_hook(lambda *_, again=again: calls.append(again))
        torch.manual_seed(7)  # of the dropout
        encoder(tokens_of(2, SEQ_LEN)).pow(3).sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in encoder.parameters()]))
    torch.testing.assert_close(grads[0], grads[1])
    assert (calls.count(False), calls.count(True)) == (2, 4)


@pytest.mark.parametrize("name", [name for name in ENCODERS if f"{name}-causal" not in CASES])
def test_an_encoder_that_cannot_be_causal_says_so(name):
    with pytest.raises(HparamError, match="--causal=True: .* sees both sides of a position"):
        build_encoder(changed(name, causal=True), DNA)
