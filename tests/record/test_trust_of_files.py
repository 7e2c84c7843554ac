"""No file runs code on its own word: checkpoints, records of runs, config files and their plugins.

Each hostile file would write the canary; what must hold is that there never is one.
"""

import json
import shlex
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from programs import forget_plugins

from seqmodel.cli.verbs import main as seqmodel
from seqmodel.errors import HparamError
from seqmodel.hparam import header
from seqmodel.hparam.help import help_text
from seqmodel.hparam.plugin_files import plugin_digest
from seqmodel.hparam.resolve import resolve, resolve_data
from seqmodel.run import main as run

PLUGIN = '''
import pathlib
pathlib.Path("canary").write_text("a plugin was imported")
from seqmodel.hparam import number
from seqmodel.hparam.model import EncoderHparams

class MyHparams(EncoderHparams):
    """An encoder of the user's own."""
    name = "{name}"
    target = "nowhere:Nothing"

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--my_scale", type=number(), default=1.0, help="of the plugin")
'''
MASKED = {"task": "masked", "fasta": ["a.fa"], "seq_len": 4}
MINE = {**MASKED, "encoder": "mine", "my_scale": 2.0, "plugins": ["mine"]}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory with a FASTA file and the plugin `mine`."""
    monkeypatch.chdir(tmp_path)
    forget_plugins(monkeypatch)
    (tmp_path / "a.fa").write_text(">a\nACGTACGTACGT\n")
    (tmp_path / "mine.py").write_text(PLUGIN.format(name="mine"))
    yield tmp_path
    forget_plugins(monkeypatch)


def checkpoint(path="a.ckpt", hparams=MINE, **more):
    content = {"schema": 1, "version": "0.1.0", "hparams": hparams, **more}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"archive/{header.HEADER}", json.dumps(content))
    return path


def record(path="hparams.json", hparams=MINE, **run):
    Path(path).write_text(json.dumps({**hparams, "_run": {"seqmodel": "0.1.0", **run}}))
    return path


def ran():
    return Path("canary").exists()


FROM = {
    "weights": lambda: f"--load_checkpoint_path={checkpoint()}",
    "resume": lambda: f"--resume_from_checkpoint={checkpoint()}",
    "record": lambda: f"--config={record()}",
}
LINE = r"'mine' is .*/mine\.py \(.*digest.*\).*give --plugins=mine \(or --trust_plugins\)"


@pytest.mark.parametrize("source", FROM)
def test_a_plugin_of_a_file_is_named_and_not_imported(source):
    with pytest.raises(HparamError, match=LINE):
        resolve([FROM[source]()])
    assert not ran()


@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("word", ["--plugins=mine", "--trust_plugins"])
def test_a_plugin_of_a_file_is_imported_once_the_user_says_so(source, word):
    found = resolve([FROM[source](), word])
    assert (found.values.encoder, found.values.my_scale) == ("mine", 2.0)
    assert found.values.plugins == ["mine"]
    assert ran()


def test_a_plugin_of_an_encoder_is_named_and_not_imported():
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4"]
    words.append(f"--load_encoder_from_checkpoint={checkpoint()}")
    with pytest.raises(HparamError, match=LINE):
        resolve(words)
    assert not ran()
    assert resolve([*words, "--plugins=mine"]).values.my_scale == 2.0


VERBS = {
    "train": lambda word: run([word]),
    "test": lambda word: run([word, "--mode=test"]),
    "help": lambda word: run([word, "--help"]),
    "describe": lambda word: seqmodel(["data", "describe", word]),
    "describe --help": lambda word: seqmodel(["data", "describe", word, "--help"]),
    "dry run": lambda word: seqmodel(["submit", "--dry_run", word]),
    "submit": lambda word: seqmodel(["submit", "--create", word]),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("source", FROM)
def test_no_verb_imports_a_plugin_of_a_file(source, verb, capsys):
    if source == "resume" and "submit" in (verb, verb.replace("dry run", "submit")):
        word = FROM["weights"]()  # a job resumes its own run
    else:
        word = FROM[source]()
    assert VERBS[verb](word) == 2
    assert not ran()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("HparamError: ")
    assert "--plugins=mine" in line


def test_the_line_says_whether_the_plugin_is_what_it_was(place):
    now = plugin_digest("mine", str(place))
    with pytest.raises(HparamError, match="its digest was not recorded"):
        resolve(["--load_checkpoint_path=" + checkpoint()])
    with pytest.raises(HparamError, match="unchanged"):
        resolve(["--load_checkpoint_path=" + checkpoint(plugins={"mine": now})])
    with pytest.raises(HparamError, match="unchanged"):
        resolve(["--config=" + record(code={"plugins": {"mine": now}})])
    with open("mine.py", "a") as file:
        file.write("# changed\n")
    with pytest.raises(HparamError, match="CHANGED"):
        resolve(["--load_checkpoint_path=" + checkpoint(plugins={"mine": now})])
    Path("mine.py").unlink()
    with pytest.raises(HparamError, match="'mine' is not found from here"):
        resolve(["--load_checkpoint_path=" + checkpoint(plugins={"mine": now})])
    assert not ran()


def test_the_digest_of_a_plugin_follows_the_modules_that_it_imports(place):
    alone = plugin_digest("mine", str(place))
    text = Path("mine.py").read_bytes()
    expected = sha256(b"mine.py\0%d\0" % len(text) + text).hexdigest()[:16]
    assert alone == expected
    Path("helper.py").write_text("x = 1\n")
    assert plugin_digest("mine", str(place)) == alone
    with open("mine.py", "a") as file:
        file.write("import helper\n")
    with_helper = plugin_digest("mine", str(place))
    Path("helper.py").write_text("x = 2\n")
    assert plugin_digest("mine", str(place)) != with_helper


def test_finding_a_plugin_in_a_package_imports_nothing(place):
    (place / "package/inner").mkdir(parents=True)
    for folder in ("package", "package/inner"):
        (place / folder / "__init__.py").write_text("open('canary', 'w')\n")
    (place / "package/inner/deep.py").write_text("open('canary', 'w')\n")
    path = checkpoint(hparams={**MINE, "plugins": ["package.inner.deep"]})
    with pytest.raises(HparamError, match=r"package/inner/deep\.py"):
        resolve([f"--load_checkpoint_path={path}"])
    assert not ran()


@pytest.mark.parametrize("word", ["--plugins=", "--plugins"])
@pytest.mark.parametrize("source", FROM)
def test_no_plugins_on_the_command_line_means_none(source, word):
    with pytest.raises(HparamError, match="no encoder 'mine'"):
        resolve([FROM[source](), word])
    with pytest.raises(HparamError, match="no encoder 'mine'"):
        resolve([word, FROM[source]()])
    assert not ran()


def test_plugins_on_the_command_line_replace_those_of_a_file():
    Path("other.py").write_text(PLUGIN.format(name="mine").replace("canary", "other_canary"))
    found = resolve([f"--load_checkpoint_path={checkpoint()}", "--plugins=other"])
    assert found.values.plugins == ["other"]
    assert Path("other_canary").exists()
    assert not ran()
    del sys.modules["other"]


def test_trust_does_not_come_out_of_a_file():
    trusting = {**MINE, "trust_plugins": True}
    for word in (
        f"--load_checkpoint_path={checkpoint(hparams=trusting)}",
        f"--resume_from_checkpoint={checkpoint(hparams=trusting)}",
        f"--config={record(hparams=trusting)}",
        f"--config={record('renamed.json', hparams=trusting)}",
    ):
        with pytest.raises(HparamError, match="--plugins=mine"):
            resolve([word])
        assert not ran()


def test_a_config_file_of_the_user_is_the_users_word():
    Path("mine.toml").write_text('plugins = ["mine"]\nload_checkpoint_path = "a.ckpt"\n')
    checkpoint()
    assert resolve(["--config=mine.toml"]).values.my_scale == 2.0


def test_a_record_that_names_a_checkpoint_names_it_alone():
    """The record of a run lies beside a checkpoint that has plugins: neither is trusted."""
    record(hparams={"load_checkpoint_path": checkpoint()})
    with pytest.raises(HparamError, match=r"a\.ckpt names plugins"):
        resolve(["--config=hparams.json"])
    assert not ran()


def test_a_plugin_that_is_not_needed_is_not_asked_for():
    """It has moved into the package since, or only its place in the header is left."""
    hparams = {**MASKED, "encoder": "dilated_conv", "n_layers": 3, "plugins": ["mine"]}
    Path("mine.py").write_text(PLUGIN.format(name="dilated_conv"))
    word = f"--load_checkpoint_path={checkpoint(hparams=hparams)}"
    with pytest.warns(UserWarning, match="not imported: .*'mine'"):
        found = resolve([word])
    assert not ran()
    assert (found.values.encoder, found.values.n_layers) == ("dilated_conv", 3)
    assert found.values.plugins == []
    assert resolve([word, "--plugins="]).values.n_layers == 3


def test_a_plugin_class_that_moved_into_the_package_yields_to_it():
    hparams = {**MASKED, "encoder": "dilated_conv", "n_layers": 3, "plugins": ["mine"]}
    Path("mine.py").write_text(PLUGIN.format(name="dilated_conv"))
    for word in ("--plugins=mine", "--trust_plugins"):
        with pytest.warns(UserWarning, match="'dilated_conv' of the plugin 'mine' is now part of"):
            found = resolve([f"--load_checkpoint_path={checkpoint(hparams=hparams)}", word])
        assert found.classes["encoder"].__module__ == "seqmodel.hparam.model"
        assert found.values.n_layers == 3
    # in a new run it is a clash, as before
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=mine"]
    with pytest.raises(HparamError, match="'dilated_conv' is defined by both"):
        resolve(words)


def test_a_checkpoint_says_what_its_plugins_were(place):
    from seqmodel.record.checkpoint import save, stamp

    digests = {"mine": plugin_digest("mine", str(place))}
    plain = {"alphabet": {}, "targets": {}, "splits": {}, "data": {}}
    save({"seqmodel": stamp(MINE, **plain, plugins=digests)}, "real.ckpt")
    with pytest.raises(HparamError, match="unchanged"):
        resolve(["--load_checkpoint_path=real.ckpt"])


@pytest.mark.parametrize("body", ["import sys; sys.exit(0)", "raise SystemExit", "1 / 0"])
def test_a_plugin_that_ends_or_fails_is_an_error(body, capsys):
    Path("hidden.py").write_text(f"{body}\n")
    assert run(["--task=masked", "--plugins=hidden"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--plugins: cannot import 'hidden'" in line


def test_a_plugin_that_ends_where_it_declares_is_an_error(capsys):
    text = PLUGIN.format(name="mine")
    Path("mine.py").write_text(
        text[: text.index("        parser.add")] + "        raise SystemExit\n"
    )
    assert run(["--task=masked", "--plugins=mine"]) == 2
    assert "--plugins=mine: SystemExit" in capsys.readouterr().err


def test_a_model_of_a_plugin_that_ends_is_an_error(capsys):
    text = PLUGIN.format(name="mine").replace("nowhere:Nothing", "hidden:Nothing")
    Path("mine.py").write_text(text)
    Path("hidden.py").write_text("raise SystemExit(0)\n")
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=mine", "--encoder=mine"]
    assert run(words) == 2
    assert "'hidden:Nothing'" in capsys.readouterr().err


def test_a_model_that_ends_the_program_is_an_error(capsys):
    text = PLUGIN.format(name="mine").replace("nowhere:Nothing", "hidden:build")
    Path("mine.py").write_text(text)
    Path("hidden.py").write_text("import sys\n\ndef build(hparams, alphabet):\n    sys.exit()\n")
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=mine", "--encoder=mine"]
    assert run(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == "RunError: the run did not end: a module called sys.exit() in it"


HF = {**MASKED, "encoder": "hf", "hf_path": "/somebody/model", "hf_trust_remote_code": True}


@pytest.mark.parametrize(
    "word",
    ["--load_checkpoint_path=a.ckpt", "--resume_from_checkpoint=a.ckpt", "--config=hparams.json"],
)
def test_what_means_trust_is_asked_for_again(word):
    checkpoint(hparams=HF)
    record(hparams=HF)
    with pytest.raises(
        HparamError,
        match="with --hf_path=/somebody/model --hf_trust_remote_code=True, which a file cannot set",
    ):
        resolve([word])
    with pytest.raises(HparamError, match="made with --hf_trust_remote_code=True, which"):
        resolve([word, "--hf_path=mine"])
    found = resolve([word, "--hf_path=mine", "--hf_trust_remote_code=False"]).values
    assert (found.hf_path, found.hf_trust_remote_code) == ("mine", False)
    assert resolve([word, "--hf_path=m", "--hf_trust_remote_code"]).values.hf_trust_remote_code


def test_no_value_that_is_declared_so_comes_out_of_a_file():
    """Whatever hyperparameter is declared with inherited=False, of every choice that there is."""
    from seqmodel.hparam.registry import known_hparams

    held = {h.name for cls in known_hparams() for h in cls.default_hparams().declared.values()
            if not h.inherited}  # fmt: skip
    assert held == {
        "plugins",
        "trust_plugins",
        "config",
        "table",
        "hf_path",
        "hf_trust_remote_code",
    }


def test_the_command_line_of_a_run_wins_over_its_checkpoint_again():
    """A default that was given against the checkpoint is said to the job too."""
    hparams = {**MASKED, "lr": 0.5, "encoder": "dilated_conv", "plugins": ["mine"]}
    path = checkpoint(hparams=hparams)
    lr = resolve(["--task=masked", "--fasta=a.fa", "--seq_len=4"]).values.lr
    first = resolve([f"--load_checkpoint_path={path}", f"--lr={lr}", "--plugins="])
    assert first.values.lr == lr != 0.5
    assert "--plugins=" in first.to_args()
    assert resolve(first.to_args()).values == first.values


def test_the_script_of_a_job_gives_the_plugins_again(capsys):
    checkpoint()
    words = ["submit", "--dry_run", "--load_checkpoint_path=a.ckpt", "--trust_plugins"]
    assert seqmodel(words) == 0
    script = capsys.readouterr().out
    [line] = [line for line in script.splitlines() if line.startswith("args=")]
    assert "--plugins=mine" in shlex.split(line[len("args=(") : -1])


def test_help_and_describe_take_plugins_that_are_given():
    assert "--my_scale" in help_text(
        [f"--load_checkpoint_path={checkpoint()}", "--plugins=mine", "--help=all"]
    )
    data = {**MINE, "dataset": "fasta"}
    path = checkpoint(hparams=data)
    assert resolve_data([f"--load_checkpoint_path={path}", "--trust_plugins"]).values.seq_len == 4


def test_a_file_that_hides_behind_an_installed_module_is_refused():
    Path("numpy.py").write_text("open('canary', 'w')\n")
    with pytest.raises(HparamError, match=r"numpy\.py has the name of the installed module"):
        resolve(["--task=masked", "--plugins=numpy"])
    assert not ran()
