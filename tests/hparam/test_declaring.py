"""Mistakes in definitions name the class and what to do; groups of the help lose nothing."""

import pytest
from definitions import BaseHparams, FullHparams

from seqmodel.errors import HparamError
from seqmodel.hparam import Hparams, integer, parse_args


def declared(declare, base=Hparams, **members):
    """A class whose add_hparams is `declare`."""
    members = {"__doc__": "Own.", "add_hparams": staticmethod(declare), **members}
    return type(base)("OwnHparams", (base,), members)


MISTAKES = {
    "declare one flag of the form --name": lambda p: p.add_argument("width", help="w"),
    "--width 3: declare one flag": lambda p: p.add_argument("--width", 3, help="w"),
    "--a-b: declare one flag": lambda p: p.add_argument("--a-b", help="w"),
    "a help text is required": lambda p: p.add_argument("--width", type=int),
    "--width: a help text": lambda p: p.add_argument("--width", help=5),
    "action is not supported; .*str2bool": lambda p: p.add_argument(
        "--width", action="store_true", help="w"
    ),
    "nargs=2 is not supported": lambda p: p.add_argument("--width", nargs=2, help="w"),
    "--width: type <class 'list'>": lambda p: p.add_argument("--width", type=list, help="w"),
    r"--width: .*unhashable": lambda p: p.add_argument("--width", type=[1], help="w"),
    "must be a whole number, got 'x'": lambda p: p.add_argument(
        "--width", type=int, default="x", help="w"
    ),
    "--width: must be a whole number, got 'x'": lambda p: p.add_argument(
        "--width", type=int, choices=["x"], help="w"
    ),
    "default of a list must be a list, got 'abc'": lambda p: p.add_argument(
        "--width", nargs="*", default="abc", help="w"
    ),
    "group='place_' is not one of": lambda p: p.add_argument("--width", group="place_", help="w"),
    "add_hparams: no hyperparameter 'nothing'": lambda p: p.set_defaults(nothing=1),
    "add_hparams: add_mutually_exclusive_group is not supported": lambda p: (
        p.add_mutually_exclusive_group()
    ),
    "add_hparams: .*exclusive_group is": lambda p: p.add_argument_group(
        "g"
    ).add_mutually_exclusive_group(),
    "add_hparams: no hyperparameter 'lost'": lambda p: p.add_argument_group("g").set_defaults(
        lost=1
    ),
    "add_hparams: add_subparsers is not supported": lambda p: p.add_subparsers(),
    "add_hparams: ZeroDivisionError: division": lambda p: 1 / 0,
    "add_hparams: AttributeError: .*no attribute 'add_arg'": lambda p: p.add_arg("--x"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_names_the_class_in_one_line(message):
    with pytest.raises(HparamError, match=message) as caught:
        declared(MISTAKES[message]).default_hparams()
    assert f"{__name__}.OwnHparams" in str(caught.value) or "(OwnHparams)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["check", "hparams", "name", "target", "tracked", "default_hparams", "_width", "help", "class"],
)
def test_a_name_that_the_class_itself_has_is_refused(name):
    def declare(parser):
        parser.add_argument(f"--{name}", help="w")

    with pytest.raises(HparamError, match=rf"OwnHparams.*can have the name '{name}'"):
        declared(declare).default_hparams()


def test_a_name_of_a_member_of_a_subclass_is_refused():
    cls = declared(lambda parser: None, base=FullHparams, depth=property(lambda self: 1))
    with pytest.raises(HparamError, match=r"BaseHparams: .*'depth': OwnHparams has an attribute"):
        cls.default_hparams()


def test_what_a_base_defines_is_not_defined_again():
    cls = declared(BaseHparams.add_hparams, base=BaseHparams)
    with pytest.raises(HparamError, match="the base class already defines it"):
        cls.default_hparams()


@pytest.mark.parametrize(
    "wrap", [staticmethod, lambda f: f, lambda f: classmethod(lambda c, p: f(p))]
)
def test_add_hparams_may_be_any_kind_of_function(wrap):
    def declare(parser):
        parser.add_argument("--width", type=integer(1), default=2, help="w")

    assert declared(None, add_hparams=wrap(declare))(width=3).width == 3


def test_what_is_added_to_a_group_is_a_hyperparameter():
    def declare(parser):
        group = parser.add_argument_group("Sizes", "how large it is")
        group.add_argument("--width", type=integer(1), default=2, help="channels")
        group.add_argument_group("More").add_argument("--height", type=int, default=1, help="rows")
        parser.add_argument("--colour", default="red", help="of it")

    cls = declared(declare)
    assert list(cls.default_hparams().declared) == ["width", "height", "colour"]
    assert cls(width="5", height=3).hparams.__dict__ == {"width": 5, "height": 3, "colour": "red"}
    assert parse_args(cls.default_hparams(), ["--width=7"])[0].width == 7
    text = cls.default_hparams().format_help()
    assert text.index("Sizes:\n  how large it is\n\n  --width N") < text.index("More:\n  --height")


def test_argparse_s_own_door_reads_the_same_words():
    parser = FullHparams.default_hparams()
    argv = ["--flag", "--sizes", "-1", "2", "--sizes=3", "--label", "-x=y"]
    assert parser.parse_args(argv) == parse_args(parser, argv)[0]
    assert parser.parse_args([]) == FullHparams().hparams
    with pytest.raises(HparamError, match="unrecognized arguments: no"):
        parser.parse_args(["--no", "a"])


def test_a_moved_default_shows_in_values_and_help():
    parser = FullHparams.default_hparams()
    parser.set_defaults(depth="6")
    assert parse_args(parser, [])[0].depth == 6
    assert "(default: 6)" in parser.format_help()
