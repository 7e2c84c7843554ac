"""Laws of hyperparameters: round trips, and names that two settings never share."""

import os
import subprocess
import sys

import pytest
from definitions import FullHparams, WhereHparams
from hypothesis import example, given
from hypothesis import strategies as st

from seqmodel.hparam import (
    HparamParser,
    canonical_str,
    changed_hparams,
    parse_args,
    parse_dict,
    to_args,
)
from seqmodel.hparam.value import MOST_FLOAT, MOST_INT

text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
some = text.filter(bool)
finite = st.floats(-MOST_FLOAT, MOST_FLOAT)
settings = st.fixed_dictionaries(
    {},
    optional={
        "depth": st.integers(1, MOST_INT),
        "lr": st.floats(0, MOST_FLOAT),
        "shift": finite,
        "label": text,
        "path": st.none() | some,
        "flag": st.booleans(),
        "norm": st.sampled_from(["layer", "rms"]),
        "files": st.lists(some),
        "sizes": st.lists(st.integers()),
        "limit": st.none() | st.integers(0, 10),
    },
)
parser = FullHparams.default_hparams()


@given(settings)
def test_dict_to_command_line_and_back_gives_the_same_values(values):
    parsed = parse_dict(parser, values)
    again, given_names = parse_args(parser, to_args(parser, parsed))
    assert again == parsed
    assert given_names == set(changed_hparams(parser, parsed))


@given(settings)
def test_a_value_read_from_its_own_text_is_the_same(values):
    parsed = vars(parse_dict(parser, values))
    texts = {name: parser.declared[name].texts(value) for name, value in parsed.items()}
    as_text = {n: t if parser.declared[n].is_list else t[0] for n, t in texts.items()}
    assert vars(parse_dict(parser, as_text)) == parsed


@given(settings)
def test_changed_hparams_are_those_that_make_the_difference(values):
    parsed = parse_dict(parser, values)
    assert parse_dict(parser, changed_hparams(parser, parsed)) == parsed


@given(settings, settings)
@example({"label": "a,lr=2.0"}, {"label": "a", "lr": 2.0})
@example({"label": "a/b"}, {"label": "a%2Fb"})
@example({"label": "default"}, {})
@example({"files": ["a", "b"]}, {"files": ["a+b"]})
@example({"files": ["a b"]}, {"files": ["a", "b"]})
@example({"label": "e\u0301"}, {"label": "\u00e9"})
@example({"label": "x" * 500}, {"label": "x" * 501})
@example({"lr": 0.1 + 0.2}, {"lr": 0.3})
def test_two_settings_share_a_name_just_when_they_are_the_same(one, other):
    first, second = parse_dict(parser, one), parse_dict(parser, other)
    same = first == second
    assert (canonical_str(parser, first) == canonical_str(parser, second)) == same


@given(settings)
def test_a_name_is_one_short_path_component(values):
    paths = {"genome": values.get("path"), "tables": values.get("files", [])}
    name = canonical_str(parser, parse_dict(parser, {**values, **paths}))
    assert name.isascii()
    assert 0 < len(name.encode()) <= 180
    assert os.path.basename(name) == name
    assert name not in (".", "..")
    assert not set(name) & set(" /\\\"'$`;&|<>(){}*?\n\t:!#")


def test_a_cut_name_never_equals_a_whole_one():
    cut = canonical_str(parser, parse_dict(parser, {"label": "x" * 500}))
    whole = canonical_str(parser, parse_dict(parser, {"label": f"x{cut[-13:]}"}))
    assert "~" in cut
    assert "~" not in whole
    assert len(whole) < 180


@pytest.mark.parametrize("same", [("1", 1.0, 1), ("5e-4", 0.0005, "0.00050"), (0.0, -0.0, "-0")])
def test_a_number_has_one_name_however_it_is_written(same):
    names = {canonical_str(parser, parse_dict(parser, {"shift": value})) for value in same}
    assert len(names) == 1


def test_names_of_runs_are_these_literals():
    """What stands on users' disks: a change here needs a step of VERSION."""

    def name(**values):
        return canonical_str(parser, parse_dict(parser, values))

    assert name() == "default"
    assert name(lr=5e-4, depth=12) == "depth=12,lr=0.0005"
    assert name(label="a b/c", flag=True) == "flag=True,label=a%20b%2Fc"
    assert name(files=["x.fa", "y+.fa"], sizes=[]) == "files=x.fa+y%2B.fa,sizes="
    assert name(label="é,=~") == "label=%C3%A9%2C%3D%7E"
    assert name(genome="data/a.fa") == "genome=a.fa-a53ee52c"  # printf data/a.fa | sha256sum
    assert name(tables=["./x.fa", "/data//y+.fa"]) == "tables=x.fa-9f355486+y%2B.fa-1bbf5720"
    assert name(label="x" * 300) == "label=" + "x" * 161 + "~765e6f8d1337"  # sha256sum of the whole


def test_untracked_values_do_not_name_a_run():
    both = HparamParser()
    both.add_class(FullHparams)
    both.add_class(WhereHparams)
    assert canonical_str(both, parse_dict(both, {"n_threads": 8, "lr": 1})) == "lr=1.0"


def test_a_later_process_gives_the_same_name():
    code = (
        "from definitions import FullHparams as F; from seqmodel.hparam import *;"
        "p = F.default_hparams();"
        "print(canonical_str(p, parse_dict(p, {'lr': .1, 'label': 'é'*99, 'files': ['b', 'a']})))"
    )
    here = os.path.dirname(__file__)
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{here}:{os.getcwd()}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
