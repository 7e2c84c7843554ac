"""Values that no run can use are refused by every hyperparameter, before anything is imported."""

import pytest

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.registry import known_hparams
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.trainer import TrainerHparams, TrainingHparams
from seqmodel.hparam.value import _Batches, _Choice, _Duration, _Integer, _Number

NO_NUMBER = ["x", "nan", "inf", "-inf", "1e39", "", True, None, "1,5", "٣x", b"1", [1]]
BAD = {
    _Integer: [*NO_NUMBER, "0.5", 2**31, "2147483648", 2**63, 10**30, "1e30", "-99"],
    _Batches: [*NO_NUMBER, "0", 0, 0.0, "0.0", -1, "1.5", 2**31, 10**400, "1e30"],
    _Number: [*NO_NUMBER, 10**400, "3.5e38"],
    _Choice: ["banana", "", 0.5, True],
    _Duration: [
        "banana",
        "12:00:00",
        "00:00:00:00",
        "1:2:3:4",
        "00:12:00:00\n0",
        60,
        "-1:00:00:00",
    ],
}


def declared():
    found = {n: h for c in known_hparams() for n, h in c.default_hparams().declared.items()}
    return found.values()


@pytest.mark.parametrize("kind", BAD, ids=lambda kind: kind.__name__)
def test_every_hyperparameter_of_a_type_refuses_its_bad_values_in_one_line(kind):
    n = 0
    for hparam in declared():
        is_optional = hasattr(hparam.type, "inner") and not isinstance(hparam.type, _Choice)
        if not isinstance(hparam.type.inner if is_optional else hparam.type, kind):
            continue
        n += 1
        for raw in BAD[kind]:
            if (is_optional and raw in ("", None)) or (hparam.is_list and raw in ("", None, [1])):
                continue
            with pytest.raises(HparamError, match=f"^--{hparam.name} .*must be ") as e:
                hparam.value(raw)
            assert "\n" not in str(e.value)
    assert n >= (1 if kind is _Duration else 4)


class Own(Hparams):
    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--key", type=int, default=0, help="a number of the user's own")


def test_a_whole_number_of_a_plugin_has_no_end():
    assert Own(key=2**60).key == 2**60


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("7", 7), (7, 7), ("1", 1), (1, 1), ("1e2", 100), (3.0, 3), ("1.0", None), (1.0, None),
        ("0.5", 0.5), (0.5, 0.5), ("0.25", 0.25), (".5", 0.5), ("", None),
    ],
)  # fmt: skip
def test_a_limit_in_batches_is_a_count_or_a_proportion_as_in_lightning(raw, value):
    for cls, name in (
        (TrainingHparams, "limit_train_batches"),
        (TrainingHparams, "val_check_interval"),
        (TrainerHparams, "limit_val_batches"),
        (TrainerHparams, "limit_test_batches"),
    ):
        hparam = cls.default_hparams().declared[name]
        found = hparam.value(raw)
        assert (found, type(found)) == (value, type(value))
        (text,) = hparam.texts(found)
        assert hparam.value(text) == value
        assert type(hparam.value(text)) is type(value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [("16", "16-mixed"), (16, "16-mixed"), ("bf16", "bf16-mixed"), (32, "32"), ("32-true", "32")],
)
def test_a_precision_may_be_spelled_as_in_lightning_and_names_the_same_run(raw, value, tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    given = {"task": "masked", "fasta": [str(tmp_path / "g.fa")], "seq_len": 4}
    runs = [resolve({**given, "precision": x}) for x in (raw, value)]
    assert runs[0].values.precision == value
    assert runs[0].canonical() == runs[1].canonical()


def test_a_proportion_and_a_count_name_different_runs(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    given = {"task": "masked", "fasta": [str(tmp_path / "g.fa")], "seq_len": 4}
    names = [resolve({**given, "limit_train_batches": x}).canonical() for x in (1, 0.5, 2, 1.0)]
    assert len(set(names)) == 4
    assert names[-1] == resolve(given).canonical()
