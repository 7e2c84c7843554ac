"""Declaring, reading and refusing hyperparameters."""

import argparse

import pytest
from definitions import BaseHparams, FullHparams, WhereHparams

from seqmodel.errors import HparamError
from seqmodel.hparam import (
    HparamParser,
    Hparams,
    changed_hparams,
    integer,
    number,
    parse_args,
    parse_dict,
    str2bool,
    to_dict,
)
from seqmodel.hparam.dataset import repeated


def test_an_object_keeps_its_own_values_and_ignores_others():
    hparams = FullHparams(lr=0.5, other=1)
    assert hparams.lr == 0.5
    assert hparams.depth == 4
    assert not hasattr(hparams, "other")
    assert repr(hparams) == "FullHparams(lr=0.5)"
    assert hparams == FullHparams(lr="0.5")
    assert hparams != FullHparams(lr=0.25)


def test_lists_of_two_objects_are_not_shared():
    FullHparams().sizes.append(3)
    assert FullHparams().sizes == [1, 2]


def test_an_object_survives_pickle_and_copy():
    import copy
    import pickle

    hparams = FullHparams(lr=0.5)
    assert pickle.loads(pickle.dumps(hparams)) == hparams
    assert copy.deepcopy(hparams) == hparams


def test_a_subclass_has_what_its_bases_define():
    assert list(BaseHparams.default_hparams().declared) == ["depth", "lr", "shift"]
    assert set(FullHparams.default_hparams().declared) > {"depth", "lr", "label"}


def test_an_override_in_a_subclass_names_both_classes():
    class OverridingHparams(BaseHparams):
        """Overrides."""

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--lr", type=number(), default=1.0, help="again")

    with pytest.raises(HparamError, match="'lr' is defined by both .*BaseHparams and .*Overriding"):
        OverridingHparams.default_hparams()


def test_a_clash_of_combined_parsers_names_both_classes():
    class OtherHparams(Hparams):
        """Clashes."""

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--n_threads", default="", help="again")

    parser = WhereHparams.default_hparams()
    with pytest.raises(HparamError, match="'n_threads' .*WhereHparams and .*OtherHparams"):
        parser.add_parser(OtherHparams.default_hparams())


def test_parsers_that_share_a_base_combine():
    class SecondHparams(BaseHparams):
        """Shares a base."""

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--width", type=integer(1), default=1, help="channels")

    parser = HparamParser()
    parser.add_parser(FullHparams.default_hparams())
    parser.add_parser(SecondHparams.default_hparams())
    values, _ = parse_args(parser, ["--lr=2", "--width=3", "--label=y"])
    assert (values.lr, values.width, values.label) == (2.0, 3, "y")


def test_a_hyperparameter_without_help_is_refused():
    class SilentHparams(Hparams):
        """No help."""

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--silent", default=1, help=" ")

    with pytest.raises(HparamError, match="SilentHparams.*help text is required"):
        SilentHparams.default_hparams()


def test_unknown_names_are_refused_with_the_nearest_known_one():
    parser = FullHparams.default_hparams()
    wanted = "no hyperparameter 'dept'; did you mean 'depth'"
    with pytest.raises(HparamError, match=wanted):
        parse_dict(parser, {"dept": 1})
    with pytest.raises(HparamError, match=wanted):
        parse_args(parser, ["--dept=1"])
    with pytest.raises(HparamError, match="stray word 'depth=3'.*did you mean '--depth'"):
        parse_args(parser, ["depth=3"])


def test_a_prefix_of_a_name_is_not_the_name():
    with pytest.raises(HparamError, match="no hyperparameter 'dep'"):
        parse_args(FullHparams.default_hparams(), ["--dep=3"])


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("depth", 0, r"--depth \(BaseHparams\): must be a whole number of at least 1, got 0"),
        ("depth", 1.5, "must be a whole number"),
        ("depth", True, "must be a whole number"),
        ("depth", "x", "got 'x'"),
        ("lr", float("nan"), "must be a number of at least 0, got nan"),
        ("lr", "nan", "got 'nan'"),
        ("lr", "inf", "must be a number of at least 0 and finite, got 'inf'"),
        ("lr", 1e999, "and finite, got inf"),
        ("lr", -1, "got -1"),
        ("lr", None, "got None"),
        ("lr", [1], "must be a number"),
        ("lr", True, "must be a number"),
        ("shift", 10**400, "must be a number"),
        ("flag", "maybe", "must be True or False"),
        ("flag", 2, "must be True or False"),
        ("norm", "lyer", "must be one of layer, rms, got 'lyer'; did you mean 'layer'"),
        ("label", 3, "must be text"),
        ("label", "a\0b", "NUL"),
        ("files", ["a", ""], "empty item"),
        ("sizes", ["a"], "must be a whole number"),
        ("limit", 11, r"must be a whole number in \[0, 10\], got 11"),
    ],
)
def test_bad_values_are_refused(name, raw, message):
    with pytest.raises(HparamError, match=message):
        parse_dict(FullHparams.default_hparams(), {name: raw})


def test_whole_numbers_may_be_written_as_floats():
    values = parse_dict(FullHparams.default_hparams(), {"depth": "1e6", "limit": 3.0})
    assert (values.depth, values.limit) == (1_000_000, 3)


def test_open_ends_are_excluded():
    kind = number(0, 1, open_lo=True, open_hi=True)
    assert kind("0.5") == 0.5
    for end in (0, 1):
        with pytest.raises(Exception, match=r"\(0, 1\)"):
            kind(end)


@pytest.mark.parametrize("word", ["True", "true", "1", "yes", "on"])
def test_str2bool_reads_true(word):
    assert str2bool(word) is True


@pytest.mark.parametrize("word", ["False", "false", "0", "no", "off"])
def test_str2bool_reads_false(word):
    assert str2bool(word) is False


def test_a_bare_flag_is_true_and_takes_a_value():
    parser = FullHparams.default_hparams()
    assert parse_args(parser, ["--flag"])[0].flag is True
    assert parse_args(parser, ["--flag", "--lr=1"])[0].flag is True
    assert parse_args(parser, ["--flag=False"])[0].flag is False


def test_lists_add_up_and_replace_what_lies_below():
    parser = FullHparams.default_hparams()
    values, _ = parse_args(parser, ["--files", "a", "b", "--files=-c"], below={"files": ["z"]})
    assert values.files == ["a", "b", "-c"]
    assert parse_args(parser, ["--sizes="])[0].sizes == []


def test_the_command_line_wins_over_what_lies_below():
    parser = FullHparams.default_hparams()
    values, given = parse_args(parser, ["--lr=2"], below={"lr": 1, "depth": 7})
    assert (values.lr, values.depth, given) == (2.0, 7, {"lr"})


def test_empty_text_means_not_set_where_the_default_is_not_set():
    values = parse_dict(FullHparams.default_hparams(), {"path": "", "limit": "", "label": ""})
    assert (values.path, values.limit, values.label) == (None, None, "")


def test_changed_hparams_takes_a_dict_too():
    assert changed_hparams(FullHparams.default_hparams(), {"lr": "0.001", "depth": 5}) == {
        "depth": 5
    }


def test_help_shows_percent_signs_and_defaults():
    text = FullHparams.default_hparams().format_help()
    assert "in % too" in text
    assert "(default: layer)" in text


def plain_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--n", type=int, default="3")
    parser.add_argument("--norm", choices=["layer", "rms"])
    parser.add_argument("--files", nargs="*", default=[])
    parser.add_argument("--more", action="append", type=int)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--slow", action="store_false")
    return parser


@pytest.mark.parametrize("parser", [plain_parser(), FullHparams.default_hparams()])
def test_dicts_and_namespaces_go_both_ways(parser):
    values = parse_dict(parser, {"lr": "0.5", "norm": "rms", "files": ["a", "b"]})
    assert (values.lr, values.norm, values.files) == (0.5, "rms", ["a", "b"])
    assert to_dict(parser, values) == vars(values)
    assert parse_dict(parser, values) == values
    assert parse_dict(parser, to_dict(parser, values)) == values
    assert changed_hparams(parser, values) == {"lr": 0.5, "norm": "rms", "files": ["a", "b"]}
    for wrong in ({"lrr": 1}, argparse.Namespace(lrr=1)):
        with pytest.raises(HparamError, match="no hyperparameter 'lrr'; did you mean 'lr'"):
            parse_dict(parser, wrong)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--lr=2", "--n=-5", "--norm=rms"],
        ["--files", "a", "b", "--more=1", "--more=2", "--fast", "--slow"],
    ],
)
def test_a_plain_parser_s_own_namespace_goes_in_and_out(argv):
    values = plain_parser().parse_args(argv)
    assert parse_dict(plain_parser(), values) == values
    assert to_dict(plain_parser(), vars(values)) == vars(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "x"}, "--lr .*must be a number, got 'x'"),
        ({"n": 1.5}, "--n .*must be a whole number, got 1.5"),
        ({"norm": "lyer"}, "--norm .*must be one of layer, rms, got 'lyer'"),
        ({"fast": "maybe"}, "--fast .*must be True or False"),
    ],
)
def test_bad_values_of_a_plain_parser_are_refused(values, message):
    with pytest.raises(HparamError, match=message):
        parse_dict(plain_parser(), values)


def test_a_required_argument_of_a_plain_parser_is_asked_for():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    assert parse_dict(parser, {"seed": "1"}).seed == 1
    with pytest.raises(HparamError, match="'seed' is not set"):
        parse_dict(parser, {})


def test_items_are_compared_once_each():
    compared = 0

    class Counted(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Counted(f"scaffold_{i}") for i in range(5000)]
    assert repeated(names) is None
    assert repeated([*names, "scaffold_7", "scaffold_3"]) == "scaffold_7"
    assert compared < 5000
