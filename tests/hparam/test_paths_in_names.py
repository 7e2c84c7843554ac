"""A file has one name in a run's name however its path is spelt, and two files never share one."""

import os

import pytest
from definitions import FullHparams
from hypothesis import example, given
from hypothesis import strategies as st

from seqmodel.hparam import canonical_str, parse_dict
from seqmodel.hparam.canonical import Workdir, normal_path, old_names, tracked_values

parser = FullHparams.default_hparams()
PREFIXES = ["", "./", "~/", "~/work/", "~/seen/", "/", "//", "{home}/", "{home}/work/"]
inner = st.lists(st.sampled_from(["a.fa", "b", "link", "work", "seen", ".", "..", ""]), max_size=5)
paths = st.builds(
    lambda prefix, parts, last: f"{prefix}{'/'.join([*parts, last])}",
    st.sampled_from([*PREFIXES, "{home}/seen/"]),
    inner,
    st.sampled_from(["a.fa", "b", "b/", ".."]),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Home with the working directory in it, which the shell has reached through a link."""
    home = tmp_path_factory.mktemp("home").resolve()
    for folder in ("work/b", "other/deep"):
        (home / folder).mkdir(parents=True)
    (home / "work/link").symlink_to(home / "other/deep")
    (home / "seen").symlink_to(home / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / "work")
        patch.setenv("HOME", str(home))
        patch.setenv("PWD", str(home / "seen"))
        yield home


def name(path, workdir):
    values = parse_dict(parser, {"genome": path})
    return canonical_str(parser, values, workdir)


def real(path, home):
    """What the file system says."""
    return os.path.realpath(os.path.join(home / "work", os.path.expanduser(path)))


WORKDIRS = ["here", "given", "there", "there too"]


def workdir_of(which, home):
    return {
        "here": Workdir(),
        "given": Workdir("~/work/../work"),
        "there": Workdir("~/work", is_here=False),
        "there too": Workdir(f"{home}/work/", is_here=False),
    }[which]


@given(paths, paths, st.sampled_from(WORKDIRS))
@example("link/../a.fa", "a.fa", "here")
@example("b", "/b", "here")
@example("~/a.fa", "/a.fa", "there")
def test_two_files_never_share_a_name(home, one, other, which):
    one, other = one.format(home=home), other.format(home=home)
    workdir = workdir_of(which, home)
    if name(one, workdir) == name(other, workdir):
        assert real(one, home) == real(other, home)


def no_link(path):
    """Whether no link is followed but the one by which the shell came to the working directory."""
    for known in ("{home}/seen/", "~/seen/"):
        path = path.removeprefix(known)
    return "link" not in path and "seen" not in path


@given(paths.filter(no_link), paths.filter(no_link))
@example("a.fa", "{home}/seen/a.fa")
@example("~/work/b/", "./b")
@example("../work/a.fa", "a.fa")
def test_one_file_has_one_name_however_its_path_is_spelt(home, one, other):
    one, other = one.format(home=home), other.format(home=home)
    if real(one, home) == real(other, home):
        assert name(one, Workdir()) == name(other, Workdir())
        assert name(one, Workdir(str(home / "seen"))) == name(other, Workdir())


@pytest.mark.parametrize(
    ("workdir", "path", "normal"),
    [
        ("~", "~/a.fa", "a.fa"),
        ("~/x/", "~/x//a.fa", "a.fa"),
        ("x", "~/x/a.fa", "a.fa"),
        ("/data/x", "/data/x/a.fa", "a.fa"),
        ("/data/x", "/data/xy/a.fa", "/data/xy/a.fa"),
        ("~/x", "/home/me/x/a.fa", "/home/me/x/a.fa"),
        ("/data/x", "../a.fa", "../a.fa"),
        ("/", "/a.fa", "a.fa"),
    ],
)
def test_on_another_machine_paths_are_compared_as_text(workdir, path, normal):
    assert normal_path(path, Workdir(workdir, is_here=False)) == normal


def test_names_of_earlier_versions_have_the_paths_as_typed(home):
    """The literals are names of 0.1.1."""

    def old(path):
        return old_names(parser, parse_dict(parser, {"genome": path, "depth": 2}))

    absolute = f"depth=2,genome={home}/work/b/a.fa".replace("/", "%2F")
    assert old("b/a.fa") == ["depth=2,genome=b%2Fa.fa", absolute]
    assert old("./b/a.fa") == ["depth=2,genome=.%2Fb%2Fa.fa", "depth=2,genome=b%2Fa.fa", absolute]
    assert old("b/" * 99 + "a.fa")[0] == f"depth=2,genome={'b%2F' * 38}~c32848859dcc"
    assert old_names(parser, parse_dict(parser, {"depth": 2})) == []


def test_values_that_name_a_run_have_one_spelling(home):
    values = {"genome": f"{home}/work/a.fa", "tables": ["./x", "~/y"], "label": "./x"}
    expected = {"genome": "a.fa", "label": "./x", "tables": ["x", f"{home}/y"]}
    assert tracked_values(parser, parse_dict(parser, values)) == expected
