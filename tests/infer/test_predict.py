"""Predictions of loaded models, with the training data deleted; answers from torch and sklearn."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    matthews_corrcoef,
    roc_auc_score,
)

import seqmodel
from seqmodel.errors import CheckpointError, HparamError, SequenceError
from seqmodel.infer.model import Model
from seqmodel.task.masked import EVALUATION_STREAM, corrupt

TASKS = ("classify", "regress", "multilabel", "masked", "causal", "profile")
IDS = {x: i for i, x in enumerate("ACGT")}
SHAPES = {"classify": (2,), "regress": (1,), "multilabel": (2,), "profile": (8, 1)}


def shape_of(task):
    return SHAPES.get(task, (64, 4))


def ids_of(texts):
    return torch.tensor([[IDS[x] for x in text] for text in texts], dtype=torch.uint8)


def by_hand(model, texts):
    """Logits of texts of 64 letters, by the task itself."""
    task = model.members[0].task.eval()
    with torch.no_grad():
        return task(ids_of(texts)).double().numpy()


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


FROM_LOGITS = {
    "classify": softmax,
    "multilabel": lambda x: 1 / (1 + np.exp(-x)),
    "regress": lambda x: x,
    "profile": np.exp,
    "masked": softmax,
    "causal": softmax,
}


@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_what_the_task_gives(trained, task):
    model = seqmodel.load(trained.best(task))
    expected = by_hand(model, trained.sequences)
    texts = trained.sequences
    np.testing.assert_allclose(model.predict(texts, logits=True), expected, 1e-5, 1e-6)
    found = model.predict(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, FROM_LOGITS[task](expected), 1e-5, 1e-6)
    assert model.task == task
    assert model.seq_len == 64
    assert model.trained_on.splits == {"train": 16, "valid": 16, "test": 16}


def test_the_precision_of_a_model_is_spelled_as_that_of_a_run(trained):
    path = trained.best("classify")
    found = {
        x: seqmodel.load(path, device="cpu", precision=x).predict(trained.sequences)
        for x in ("32", "bf16", "bf16-mixed")
    }
    np.testing.assert_array_equal(found["bf16"], found["bf16-mixed"])
    assert np.abs(found["bf16"] - found["32"]).max() > 0
    with pytest.raises(HparamError, match="--precision .*must be one of 32, 16-mixed, bf16-mixed"):
        seqmodel.load(path, precision="banana")


@pytest.mark.slow
def test_a_fresh_process_predicts_without_the_training_data(trained):
    """Of every task; and by the line that the documentation gives."""
    code = """
import json, sys, seqmodel
found = {x: seqmodel.load(f"{x}/checkpoints/best.ckpt").predict(["ACGT" * 16]).tolist()
         for x in sys.argv[1:]}
print(json.dumps(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *TASKS], cwd=trained.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for task, found in json.loads(done.stdout).items():
        model = seqmodel.load(trained.best(task))
        np.testing.assert_allclose(found, model.predict(["ACGT" * 16]), 1e-6)
    line = "import seqmodel; m = seqmodel.load('best.ckpt'); print(m.predict(['ACGT'*16]))"
    where = trained.best("regress").parent
    done = subprocess.run([sys.executable, "-c", line], cwd=where, capture_output=True, text=True)
    assert done.stdout == f"{seqmodel.load(where / 'best.ckpt').predict(['ACGT' * 16])}\n"


def test_scores_of_the_test_split_are_those_of_the_run(trained):
    def scores(task):
        run = trained.runs[task]
        return run.load().predict(trained.sequences), run.metrics

    one, two, value = trained.labels.T
    p, run = scores("classify")
    assert accuracy_score(one, p.argmax(1)) == pytest.approx(run["test_accuracy"])
    assert matthews_corrcoef(one, p.argmax(1)) == pytest.approx(run["test_mcc"], abs=1e-6)
    assert roc_auc_score(one, p[:, 1]) == pytest.approx(run["test_auroc"])
    assert average_precision_score(one, p[:, 1]) == pytest.approx(run["test_auprc"])
    p, run = scores("multilabel")
    for i, (name, y) in enumerate({"one": one, "two": two}.items()):
        assert roc_auc_score(y, p[:, i]) == pytest.approx(run[f"test_auroc/{name}"])
    p, run = scores("regress")
    assert ((p[:, 0] - value) ** 2).mean() == pytest.approx(run["test_mse"], rel=1e-5)
    assert pearsonr(p[:, 0], value)[0] == pytest.approx(run["test_pearson"], rel=1e-4)
    p, run = scores("profile")
    poisson = p[:, :, 0] - trained.bins * np.log(p[:, :, 0])
    assert poisson.mean() == pytest.approx(run["test_loss"], rel=1e-5)


def test_losses_of_the_letter_models_are_those_of_the_run(trained):
    ids = ids_of(trained.sequences)
    run = trained.runs["causal"]
    p = run.load().predict(ids.numpy())
    of_next = np.take_along_axis(p[:, :-1], ids[:, 1:, None].long().numpy(), 2)
    assert -np.log(of_next).mean() == pytest.approx(run.metrics["test_loss"], rel=1e-5)
    run = trained.runs["masked"]
    model = run.load()
    hparams = model.members[0].task.task_hparams
    hidden, chosen = corrupt(ids, torch.arange(16), model.alphabet, hparams, EVALUATION_STREAM)
    p = model.predict(hidden.numpy())
    of_hidden = np.take_along_axis(p, ids[:, :, None].long().numpy(), 2)[chosen.numpy()]
    assert -np.log(of_hidden).mean() == pytest.approx(run.metrics["test_loss"], rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_a_row_does_not_depend_on_the_rows_around_it(trained, task):
    model = seqmodel.load(trained.best(task))
    texts = [trained.sequences[0], "acgtn", trained.sequences[1][:33], "N" * 64, "T"]
    together = model.predict(texts)
    for batch_size in (1, 2, 3):
        np.testing.assert_allclose(model.predict(texts, batch_size=batch_size), together, 1e-5)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(model.predict([text])[0], row, 1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_shorter_sequences_are_padded_as_in_training(trained, task):
    """By hand: the padding's id where the sequence has ended, and told so; then NaN."""
    model = seqmodel.load(trained.best(task))
    ids = torch.full((1, 64), 5, dtype=torch.uint8)
    ids[0, :40] = ids_of([trained.sequences[0][:40]])
    pad = torch.arange(64)[None] >= 40
    with torch.no_grad():
        expected = model.members[0].task.eval()(ids, pad).numpy()
    if task == "profile":
        expected[:, 5:] = np.nan
    elif task in ("masked", "causal"):
        expected[:, 40:] = np.nan
    found = model.predict([trained.sequences[0][:40].lower()], logits=True)
    np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_texts_ids_and_one_hot_rows_are_one(trained, task):
    model = seqmodel.load(trained.best(task))
    texts = trained.sequences[:3]
    expected = model.predict(texts)
    ids = ids_of(texts)
    one_hot = torch.nn.functional.one_hot(ids.long(), 4).float()
    for same in (
        tuple(texts),
        iter(texts),
        [x.encode() for x in texts],
        ids.numpy(),
        ids,
        list(ids.numpy()),
        one_hot.clone().requires_grad_(),
        one_hot.numpy(),
        [texts[0].lower(), *texts[1:]],
    ):
        np.testing.assert_allclose(model.predict(same), expected, 1e-5, 1e-6)
    mixed = model.predict([ids.numpy()[0], one_hot.numpy()[1], ids.numpy()[2]])
    np.testing.assert_allclose(mixed, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_no_sequences_give_no_rows(trained, task):
    assert seqmodel.load(trained.best(task)).predict([]).shape == (0, *shape_of(task))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["A" * 64, "A" * 65], r"row 1: length 65, but the model was trained on length 64"),
        (["ACGT", "ACXT"], r"row 1, character 3: 'X' is not of the alphabet 'dna'"),
        (["ACGT", "AC\xe9T"], r"row 1, character 3: '\xe9' is not of the"),
        (["ACGT", ""], r"row 1: the sequence is empty"),
        ("ACGT", r"got one text instead of a list"),
        ([[0, 1], [0, 7]], r"row 1: ids from 0 to 7, but the alphabet 'dna' has ids below 7"),
        ([[0, -1]], r"row 0: ids from -1 to 0"),
        (["ACGT", None], r"row 0: str .* is not a sequence|row 1: NoneType .* is not a sequence"),
        (np.zeros((2, 8, 5)), r"row 0: ndarray \(float64, shape \[8, 5\]\) is not a sequence"),
        (np.zeros((2, 8)), r"row 0: ndarray \(float64, shape \[8\]\) is not a sequence"),
    ],
)
def test_what_is_no_sequence_of_the_model_is_told_by_its_row(trained, given, message):
    with pytest.raises(SequenceError, match=message):
        seqmodel.load(trained.best("classify")).predict(given)


def test_a_gradient_reaches_one_hot_input_after_a_prediction(trained):
    model = seqmodel.load(trained.best("multilabel"))
    texts = trained.sequences[:2]
    logits = model.predict(texts, logits=True)
    x = torch.nn.functional.one_hot(ids_of(texts).long(), 4).float().requires_grad_()
    for layout, given in (("NLA", x), ("NAL", x.mT)):
        outputs = model.module(layout, target="two")(given)
        np.testing.assert_allclose(outputs.detach().numpy(), logits[:, 1:], 1e-5, 1e-6)
        (gradient,) = torch.autograd.grad(outputs.sum(), x)
        assert float(gradient.abs().sum()) > 0
    np.testing.assert_allclose(
        model.module("NL")(ids_of(texts)).detach().numpy(), logits, 1e-5, 1e-6
    )
    with pytest.raises(HparamError, match="no target 'three'; the targets are one, two"):
        model.module(target="three")
    with pytest.raises(HparamError, match="layout='LAN': choose one of NL, NLA, NAL"):
        model.module("LAN")


def test_an_ensemble_is_the_mean_of_the_logits(trained):
    first, last = trained.best("classify"), trained.best("classify").with_name("last.ckpt")
    shifted = seqmodel.load(last)
    with torch.no_grad():
        for weight in shifted.network.parameters():
            weight.add_(0.1)
    one = seqmodel.load(first)
    both = Model([*one.members, *shifted.members], torch.device("cpu"))
    texts = trained.sequences
    logits = (by_hand(one, texts) + by_hand(shifted, texts)) / 2
    assert np.abs(by_hand(one, texts) - by_hand(shifted, texts)).max() > 0.01
    np.testing.assert_allclose(both.predict(texts, logits=True), logits, 1e-5, 1e-6)
    np.testing.assert_allclose(both.predict(texts), softmax(logits), 1e-5, 1e-6)
    twice = seqmodel.load([first, str(first)])
    np.testing.assert_array_equal(twice.predict(texts), one.predict(texts))
    assert twice.trained_on == one.trained_on


def test_models_that_are_no_ensemble_are_refused(trained):
    with pytest.raises(CheckpointError, match=r"its task is regress, not classify; all models"):
        seqmodel.load([trained.best("classify"), trained.best("regress")])
    with pytest.raises(CheckpointError, match="no checkpoint was given"):
        seqmodel.load([])


def test_the_random_state_of_the_user_stays(trained):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    seqmodel.load(trained.best("masked")).predict(["ACGT"])
    assert torch.equal(torch.rand(2), expected)


def test_a_device_that_is_not_there_and_a_wrong_length_are_told(trained):
    with pytest.raises(HparamError, match="device='cuda:99' cannot be used here"):
        seqmodel.load(trained.best("classify"), device="cuda:99")
    with pytest.raises(HparamError, match=r"seq_len=32: .* was trained on sequences of length 64"):
        seqmodel.load(trained.best("classify"), seq_len=32)
    with pytest.raises(HparamError, match="batch_size=0: must be 1 or more"):
        seqmodel.load(trained.best("classify")).predict(["A"], batch_size=0)
    with pytest.raises(HparamError, match="no hyperparameter 'devise'"):
        seqmodel.load(trained.best("classify"), devise="cpu")
    with pytest.raises(CheckpointError, match=r"nowhere\.ckpt: cannot be read"):
        seqmodel.load("nowhere.ckpt")


def test_hyperparameters_can_be_replaced(trained):
    """Strands averaged: the same for the reverse complement."""
    model = seqmodel.load(trained.best("classify"), average_strands=True)
    text = trained.sequences[0]
    other = text[::-1].translate(str.maketrans("ACGT", "TGCA"))
    found = model.predict([text, other])
    np.testing.assert_allclose(found[0], found[1], 1e-5)
    assert not np.allclose(*seqmodel.load(trained.best("classify")).predict([text, other]))
