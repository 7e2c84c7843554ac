"""Multi-label, regression and profile tasks: metrics of a split against scikit-learn and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk
from task_cases import NO_TARGETS, Batches, batch_of, task_of, trainer_of

from seqmodel.dataset.label.targets import Targets
from seqmodel.errors import HparamError, LabelError
from seqmodel.hparam.model import CnnHparams, ProfileHparams, TransformerHparams
from seqmodel.hparam.task import MultilabelHparams, ProfileTaskHparams, RegressHparams
from seqmodel.task.scores import correlation_scores

LABELS = Targets("multilabel", ("CTCF", "DNase", "p300"))
NUMBERS = Targets("real", ("expression", "fitness"))
TRACKS = Targets("track", ("plus", "minus"))
NAN = float("nan")


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def measured(task, batches, folder):
    return trainer_of(folder).test(task, Batches(batches), verbose=False)[0]


def outputs_of(task, batches):
    task.eval()
    with torch.no_grad():
        return torch.cat([task(b["tokens"]) for b in batches])


def labelled(targets_of, sizes=(8, 5, 1)):
    return [batch_of(n, 16, seed=i, target=targets_of(n, i)) for i, n in enumerate(sizes)]


def test_multilabel_scores_are_those_of_scikit_learn(tmp_path):
    def targets(n, seed):
        values = (numbers(n, 3, seed=seed) > 0).float()
        values[0, seed % 3] = NAN
        return values

    batches = labelled(targets)
    task = task_of(MultilabelHparams(), LABELS)
    values = measured(task, batches, tmp_path)
    p, y = outputs_of(task, batches).sigmoid(), torch.cat([b["target"] for b in batches])
    there = ~y.isnan()
    for t, name in enumerate(LABELS.names):
        known = y[there[:, t], t], p[there[:, t], t]
        assert values[f"test_auroc/{name}"] == pytest.approx(sk.roc_auc_score(*known))
        assert values[f"test_auprc/{name}"] == pytest.approx(sk.average_precision_score(*known))
    each = [values[f"test_auroc/{name}"] for name in LABELS.names]
    assert values["test_auroc"] == pytest.approx(np.mean(each))
    assert values["test_loss"] == pytest.approx(sk.log_loss(y[there], p[there]))


def test_a_label_without_positives_is_told_and_left_out(tmp_path, caplog):
    def targets(n, seed):
        values = (numbers(n, 3, seed=seed) > 0).float()
        values[:, 1] = 0.0
        return values

    values = measured(task_of(MultilabelHparams(), LABELS), labelled(targets), tmp_path)
    assert math.isnan(values["test_auroc/DNase"])
    others = [values["test_auroc/CTCF"], values["test_auroc/p300"]]
    assert values["test_auroc"] == pytest.approx(np.mean(others))
    assert "test: AUROC and AUPRC undefined (NaN) for 1 of 3: DNase" in caplog.text


def test_regression_scores_are_those_of_scipy(tmp_path):
    def targets(n, seed):
        values = numbers(n, 2, seed=seed).round(decimals=1)
        values[0, 0] = NAN
        return values

    batches = labelled(targets)
    task = task_of(RegressHparams(), NUMBERS)
    values = measured(task, batches, tmp_path)
    x, y = outputs_of(task, batches), torch.cat([b["target"] for b in batches])
    for t, name in enumerate(NUMBERS.names):
        there = ~y[:, t].isnan()
        pair = x[there, t].numpy(), y[there, t].numpy()
        assert values[f"test_pearson/{name}"] == pytest.approx(stats.pearsonr(*pair)[0], abs=1e-5)
        assert values[f"test_spearman/{name}"] == pytest.approx(stats.spearmanr(*pair)[0], abs=1e-5)
        assert values[f"test_mse/{name}"] == pytest.approx(sk.mean_squared_error(*pair), rel=1e-5)
    assert values["test_loss"] == pytest.approx(float((x - y).square().nanmean()), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_correlations_are_those_of_scipy_also_far_from_zero_and_with_ties(seed, offset):
    x, y = numbers(40, seed=seed).double().round(decimals=1), numbers(40, seed=seed + 9).double()
    pearson, spearman = correlation_scores(x + offset, y.round() - offset)
    assert float(pearson) == pytest.approx(stats.pearsonr(x + offset, y.round() - offset)[0])
    assert float(spearman) == pytest.approx(stats.spearmanr(x, y.round())[0])


@pytest.mark.parametrize("side", [0, 1])
def test_correlation_with_a_constant_is_undefined(side):
    pair = [numbers(9), numbers(9, seed=1)]
    pair[side] = torch.full((9,), 0.1)
    assert all(math.isnan(value) for value in correlation_scores(*pair))


def profile_batches(seq_len=64, n_bins=16):
    def targets(n, seed):
        values = numbers(n, n_bins, 2, seed=seed).abs().mul(4).round()
        values[0, :3] = NAN
        return values

    return [batch_of(n, seq_len, seed=i, target=targets(n, i)) for i, n in enumerate((6, 4, 2))]


@pytest.mark.parametrize("encoder", [TransformerHparams, CnnHparams], ids=["by letter", "pooled"])
def test_profile_scores_are_those_of_scipy(encoder, tmp_path):
    sizes = {"n_dims": 16, "n_layers": 2, "dropout": 0.0}
    stride = 4 if encoder is CnnHparams else 1
    task = task_of(
        ProfileTaskHparams(),
        TRACKS,
        encoder=encoder(pool_size=2, **sizes),
        decoder=ProfileHparams(bin_positions=4 // stride, crop_bins=2),
    )
    batches = profile_batches()
    values = measured(task, batches, tmp_path)
    rate = outputs_of(task, batches).exp()
    y = torch.cat([b["target"] for b in batches])[:, 2:-2]
    assert rate.shape == y.shape == (12, 12, 2)
    for t, name in enumerate(TRACKS.names):
        there = ~y[:, :, t].isnan()
        pair = rate[:, :, t][there].double(), y[:, :, t][there].double()
        assert values[f"test_pearson/{name}"] == pytest.approx(stats.pearsonr(*pair)[0], abs=1e-5)
        sums = (
            torch.where(there, rate[:, :, t], 0.0).sum(1).log1p(),
            y[:, :, t].nansum(1).log1p(),
        )
        assert values[f"test_count_pearson/{name}"] == pytest.approx(
            stats.pearsonr(*sums)[0], abs=1e-5
        )


@pytest.mark.parametrize("how", ["averaged", "equivariant"])
def test_the_strands_of_a_pair_of_tracks_change_places_in_a_reverse_complement(how):
    targets = Targets("track", ("p", "both", "m"), (("p", "m"),))
    encoder = TransformerHparams(n_dims=16, n_layers=1, rc_equivariant=how == "equivariant")
    task = task_of(
        ProfileTaskHparams(average_strands=how == "averaged"),
        targets,
        encoder=encoder,
        decoder=ProfileHparams(bin_positions=4),
    ).eval()
    tokens = batch_of(5, 64)["tokens"]
    with torch.no_grad():
        here, there = task(tokens), task(3 - tokens.flip(1))  # ids of A, C, G, T
    torch.testing.assert_close(there, here.flip(1)[:, :, [2, 1, 0]], rtol=1e-4, atol=1e-5)


def test_padding_is_not_scored_in_a_profile():
    task = task_of(ProfileTaskHparams(), TRACKS, decoder=ProfileHparams(bin_positions=4)).eval()
    batch = profile_batches()[0]
    pad = torch.zeros(6, 64, dtype=torch.bool)
    pad[1, 30:] = True
    scored = task.score(batch | {"pad": pad})
    assert scored.target[1].isnan().all(1).tolist() == [False] * 7 + [True] * 9
    assert scored.weight == 6 * 16 * 2 - 9 * 2 - 3 * 2


def test_tracks_of_another_number_of_bins_are_refused():
    task = task_of(ProfileTaskHparams(), TRACKS, decoder=ProfileHparams(bin_positions=2))
    with pytest.raises(LabelError, match="the model gives 32 bins, the tracks have 16"):
        task.score(profile_batches()[0])


@pytest.mark.slow
@pytest.mark.parametrize("profile_loss", ["poisson", "poisson_multinomial", "multinomial_count"])
def test_profiles_are_learned(profile_loss, tmp_path):
    batch = batch_of(8, 32)
    is_a = (batch["tokens"] == 0).float()
    batch["target"] = torch.stack([1 + 5 * is_a, 4 - 2 * is_a], 2)
    task = task_of(ProfileTaskHparams(profile_loss=profile_loss), TRACKS, decoder=ProfileHparams())
    trainer_of(tmp_path, max_epochs=60).fit(task, Batches([batch] * 5))
    rate = outputs_of(task, [batch]).exp()
    assert stats.pearsonr(rate.flatten(), batch["target"].flatten())[0] > 0.95
    if profile_loss != "multinomial_count":
        assert rate.sum().item() == pytest.approx(batch["target"].sum().item(), rel=0.1)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        (MultilabelHparams(), "labels of 0 and 1"),
        (RegressHparams(), "numbers as labels"),
        (ProfileTaskHparams(), "needs tracks"),
    ],
)
def test_data_of_another_kind_are_refused(hparams, message):
    with pytest.raises(LabelError, match=message):
        task_of(hparams, NO_TARGETS, decoder=ProfileHparams())


def test_one_weight_serves_all_labels_and_two_of_three_are_refused():
    assert task_of(MultilabelHparams(class_weights=[3]), LABELS).class_weights.tolist() == [3.0]
    with pytest.raises(HparamError, match="has 2 weights but the data have 3 targets"):
        task_of(MultilabelHparams(class_weights=[3, 1]), LABELS)
