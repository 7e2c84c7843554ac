"""The one reader of command lines."""

import pytest

from seqmodel.errors import HparamError
from seqmodel.hparam.words import BOOL, LIST, VALUE, read_words, refuse_stray

TAKES = {"lr": VALUE, "label": VALUE, "flag": BOOL, "files": LIST, "sizes": LIST}


@pytest.mark.parametrize(
    ("line", "values", "free"),
    [
        ("", {}, []),
        ("--lr=1", {"lr": "1"}, []),
        ("--lr 1 out", {"lr": "1"}, ["out"]),
        ("out --lr 1", {"lr": "1"}, ["out"]),
        ("--lr -1e-3", {"lr": "-1e-3"}, []),
        ("--lr=1 --lr 2", {"lr": "2"}, []),
        ("--label -x", {"label": "-x"}, []),
        ("--label=--x", {"label": "--x"}, []),
        ("--label a=b=c", {"label": "a=b=c"}, []),
        ("--label=a=b", {"label": "a=b"}, []),
        ("--label=", {"label": ""}, []),
        ("--flag", {"flag": "True"}, []),
        ("--flag --lr 1", {"flag": "True", "lr": "1"}, []),
        ("--flag no", {"flag": "no"}, []),
        ("--flag=maybe", {"flag": "maybe"}, []),
        ("--flag out", {"flag": "True"}, ["out"]),
        ("--flag False --flag", {"flag": "True"}, []),
        ("--files a b --lr 1", {"files": ["a", "b"], "lr": "1"}, []),
        ("--files a --lr 1 --files=b --files c", {"files": ["a", "b", "c"], "lr": "1"}, []),
        ("--files=", {"files": []}, []),
        ("--files", {"files": []}, []),
        ("--files= --files=b", {"files": ["b"]}, []),
        ("--files --flag", {"files": [], "flag": "True"}, []),
        ("--files=a out", {"files": ["a"]}, ["out"]),
        ("--files a -- out --lr", {"files": ["a"]}, ["out", "--lr"]),
        ("--sizes -1 -2 - -x", {"sizes": ["-1", "-2", "-", "-x"]}, []),
        ("out -- -x", {}, ["out", "-x"]),
        ("-- --lr=1", {}, ["--lr=1"]),
    ],
)
def test_values_and_words_without_a_name(line, values, free):
    words = read_words(line.split(), TAKES)
    assert (words.values, words.free, words.unknown) == (values, free, {})


def test_an_empty_word_is_a_value_and_in_a_list_an_empty_item():
    assert read_words(["--label", ""], TAKES).values == {"label": ""}
    assert read_words(["--files", ""], TAKES).values == {"files": []}
    assert read_words(["--files", "a", ""], TAKES).values == {"files": ["a", ""]}


def test_names_that_are_not_declared_have_all_words_behind_them():
    words = read_words(["--no", "a", "b", "--lr", "1", "-v", "--other=x", "--no=c"], TAKES)
    assert words.unknown == {"no": ["a", "b", "c"], "other": ["x"], "-v": []}
    assert words.values == {"lr": "1"}


@pytest.mark.parametrize("line", ["--lr", "--lr --flag", "--label -- x"])
def test_a_missing_value_is_told(line):
    with pytest.raises(HparamError, match=r"--(lr|label): a value is missing; write --"):
        read_words(line.split(), TAKES)


def test_several_words_behind_a_list_are_noted():
    assert read_words(["--files", "a", "b", "--sizes=1", "--sizes", "2"], TAKES).in_words == [
        "files"
    ]


def test_a_stray_word_is_told_with_the_nearest_name():
    with pytest.raises(HparamError, match="stray word 'labl=x'.*did you mean '--label'"):
        refuse_stray(["labl=x"], TAKES)
