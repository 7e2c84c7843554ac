"""Which hyperparameters a run has, config files, plugins, checkpoints' headers, and help."""

import argparse
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seqmodel.errors import CheckpointError, HparamError
from seqmodel.hparam import docs, header
from seqmodel.hparam.help import help_text
from seqmodel.hparam.registry import check_namespace, known_hparams
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.value import path

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = '''
from seqmodel.hparam import number
from seqmodel.hparam.model import EncoderHparams

class {cls}(EncoderHparams):
    """An encoder of the user's own."""
    name = "{name}"
    target = "nowhere:Nothing"

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--{hparam}", type=number(), default=1.0, help="of the plugin")
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A function that writes a plugin module into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def write(module, cls="MyHparams", name="mine", hparam="my_scale"):
        Path(f"{module}.py").write_text(PLUGIN.format(cls=cls, name=name, hparam=hparam))
        return module

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a\nACGT\n")
    return str(path)


def masked(fasta, *more):
    return ["--task=masked", f"--fasta={fasta}", "--seq_len=4", *more]


def test_every_definition_has_its_own_name_and_help():
    parser = check_namespace(known_hparams())
    assert len(parser.declared) > 50
    assert all(h.help for h in parser.declared.values())


def test_every_class_that_can_be_chosen_names_an_object_that_exists():
    from seqmodel.hparam.target import resolve_target

    chosen = [cls for cls in known_hparams() if cls.name is not None]
    assert len(chosen) > 8
    for cls in chosen:
        assert resolve_target(cls.target) is not None


@pytest.mark.parametrize(
    "target", ["nowhere:Nothing", "seqmodel.task.build:Nothing", "nowhere", ""]
)
def test_a_target_that_does_not_exist_is_told(target):
    from seqmodel.hparam.target import resolve_target

    with pytest.raises(HparamError, match=f"target '{target}' .*no such module or object"):
        resolve_target(target)


def test_a_module_that_lacks_something_itself_keeps_its_traceback(tmp_path, monkeypatch):
    from seqmodel.hparam.target import resolve_target

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lacking.py").write_text("import not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        resolve_target("lacking:Model")


def test_a_run_has_the_hyperparameters_of_its_choices_alone(fasta):
    run = resolve(masked(fasta, "--encoder=dilated_conv"))
    assert "dilation_base" in run.parser.declared or "kernel_size" in run.parser.declared
    assert "n_heads" not in run.parser.declared
    assert run.values.decoder == "position"


def test_a_name_of_another_choice_is_told_apart_from_an_unknown_one(fasta):
    with pytest.raises(HparamError, match="'n_heads' has no effect.*--encoder=transformer"):
        resolve(masked(fasta, "--encoder=dilated_conv", "--n_heads=2"))
    with pytest.raises(HparamError, match="no hyperparameter 'n_head'.*did you mean 'n_heads'"):
        resolve(masked(fasta, "--n_head=2"))


def test_a_dict_and_a_command_line_describe_the_same_run(fasta):
    words = resolve(masked(fasta, "--lr", "0.5", "--n_layers=2"))
    values = resolve({"task": "masked", "fasta": [fasta], "seq_len": 4, "lr": 0.5, "n_layers": 2})
    assert words.values == values.values
    assert words.canonical() == values.canonical()
    assert resolve(words.to_args()).values == words.values


def test_naming_the_usual_choice_does_not_change_the_name(fasta):
    short = resolve(masked(fasta))
    long = resolve(masked(fasta, "--decoder=position", "--encoder=transformer"))
    assert short.canonical() == long.canonical()


def _given(form, name, value):
    """The same setting on a command line, in a dict, in config files, or for a parser alone."""
    if form == "config":
        Path("c.toml").write_text(f'{name} = "{value}"\n')
        return ["--config=c.toml"]
    return {"words": [f"--{name}", value], "equals": [f"--{name}={value}"]}[form]


@pytest.mark.parametrize("form", ["words", "equals", "config", "dict"])
def test_optimizer_is_another_spelling_of_optimiser(fasta, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"task": "masked", "fasta": fasta, "seq_len": 4}
    if form == "dict":
        runs = [resolve({**known, name: "sgd"}) for name in ("optimizer", "optimiser")]
    else:
        runs = [resolve(masked(fasta, *_given(form, n, "sgd"))) for n in ("optimizer", "optimiser")]
    assert runs[0].values == runs[1].values
    assert runs[0].canonical() == runs[1].canonical()
    assert "optimiser=sgd" in runs[0].canonical()
    assert runs[0].values.optimiser == "sgd"
    assert "--optimiser=sgd" in runs[0].to_args()


@pytest.mark.parametrize("form", ["words", "equals", "config", "dict"])
def test_both_spellings_of_optimiser_are_refused(fasta, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if form == "dict":
        given = {"task": "masked", "fasta": fasta, "optimizer": "sgd", "optimiser": "sgd"}
    elif form == "config":
        Path("c.toml").write_text('optimizer = "sgd"\noptimiser = "sgd"\n')
        given = masked(fasta, "--config=c.toml")
    else:
        both = [_given(form, name, "sgd") for name in ("optimizer", "optimiser")]
        given = masked(fasta, *both[0], *both[1])
    with pytest.raises(
        HparamError, match="'optimizer' and 'optimiser' are the same hyperparameter"
    ):
        resolve(given)


def test_the_command_line_wins_over_a_config_file_in_the_other_spelling(
    fasta, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text('optimiser = "sgd"\n')
    assert (
        resolve(masked(fasta, "--config=c.toml", "--optimizer=adamw")).values.optimiser == "adamw"
    )


@pytest.mark.parametrize("role", ["task", "encoder", "decoder", "optimiser", "schedule"])
def test_an_unknown_choice_is_refused(fasta, role):
    with pytest.raises(HparamError, match=rf"--{role}: no {role} 'wrong'; choose one of "):
        resolve([*masked(fasta), f"--{role}=wrong"])


def test_a_missing_choice_is_told():
    with pytest.raises(HparamError, match="--task is not set; choose one of .*masked"):
        resolve([])


def test_a_config_file_lies_below_the_command_line(tmp_path, fasta):
    config = tmp_path / "c.toml"
    values = ('task = "masked"', f'fasta = ["{fasta}"]', "seq_len = 4", "lr = 0.5", "n_layers = 3")
    config.write_text("\n".join(values))
    run = resolve([f"--config={config}", "--lr=0.25"])
    assert (run.values.lr, run.values.n_layers) == (0.25, 3)
    assert run.canonical() == resolve(masked(fasta, "--lr=0.25", "--n_layers=3")).canonical()


def test_a_record_of_a_run_is_a_config_file(tmp_path, fasta):
    run = resolve(masked(fasta, "--lr=0.5", "--encoder=dilated_conv"))
    record = tmp_path / "hparams.json"
    record.write_text(json.dumps({**vars(run.values), "_run": {"schema": 1}}))
    assert resolve([f"--config={record}"]).values == run.values


def test_a_name_without_effect_in_a_config_file_warns(tmp_path, fasta):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"task": "masked", "fasta": [fasta], "seq_len": 4, "n_heads": 2}))
    with pytest.warns(UserWarning, match="'n_heads' in the config file has no effect"):
        resolve([f"--config={config}", "--encoder=dilated_conv"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.toml", "lr = = 1", "cannot be read as TOML or JSON .* correct the file"),
        ("c.json", "[1]", "must contain names and values, got a list"),
        ("c.toml", "[model]\nlr = 1", "'model' is a table; names are flat"),
        ("c.toml", "task = 'masked'\nlearning_rat = 1", "no hyperparameter 'learning_rat'"),
    ],
)
def test_bad_config_files_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(HparamError, match=message):
        resolve([f"--config={path}"])


def test_a_missing_config_file_is_told():
    with pytest.raises(HparamError, match=r"--config none\.toml: cannot be read \(No such file"):
        resolve(["--config=none.toml"])


def test_a_plugin_brings_a_choice_and_its_hyperparameters(plugin, fasta):
    module = plugin("my_module")
    run = resolve(masked(fasta, f"--plugins={module}", "--encoder=mine", "--my_scale=2"))
    assert run.values.my_scale == 2.0
    assert run.classes["encoder"].__name__ == "MyHparams"


def test_plugins_that_clash_are_refused_with_both_names(plugin, fasta):
    one, two = plugin("one"), plugin("two", cls="OtherHparams", name="other")
    with pytest.raises(HparamError, match=r"'my_scale' .*one\.MyHparams and two\.OtherHparams"):
        resolve(masked(fasta, "--plugins", one, two, "--encoder=mine"))


def test_plugins_with_one_choice_name_are_refused(plugin, fasta):
    one, two = plugin("one"), plugin("two", cls="OtherHparams", hparam="other_scale")
    with pytest.raises(HparamError, match=r"choice 'mine' .*one\.MyHparams and two\.OtherHparams"):
        resolve(masked(fasta, "--plugins", one, two))


def test_a_plugin_that_clashes_with_the_package_is_refused(plugin, fasta):
    with pytest.raises(HparamError, match=r"'n_heads' .*TransformerHparams and my\.MyHparams"):
        resolve(masked(fasta, "--plugins", plugin("my", hparam="n_heads")))


def test_a_plugin_that_is_missing_or_broken_is_told(plugin, fasta, tmp_path):
    plugin("my_module")
    with pytest.raises(HparamError, match="cannot import 'my_modul'.*did you mean 'my_module'"):
        resolve(masked(fasta, "--plugins=my_modul"))
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(HparamError, match="cannot import 'broken'.*ZeroDivisionError"):
        resolve(masked(fasta, "--plugins=broken"))
    with pytest.raises(HparamError, match="'a/b' is not a module name"):
        resolve(masked(fasta, "--plugins=a/b"))


def write_header(path, **values):
    content = {"schema": 1, "version": "0.1.0", "hparams": {}, **values}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"archive/{header.HEADER}", json.dumps(content))
    return str(path)


def test_an_encoder_from_a_checkpoint_brings_its_hyperparameters(tmp_path, fasta):
    old = resolve(masked(fasta, "--encoder=dilated_conv", "--n_layers=7", "--lr=0.5"))
    path = write_header(tmp_path / "a.ckpt", hparams=vars(old.values))
    run = resolve(masked(fasta, f"--load_encoder_from_checkpoint={path}"))
    assert (run.values.encoder, run.values.n_layers) == ("dilated_conv", 7)
    assert run.values.lr != 0.5


def test_weights_from_a_checkpoint_bring_all_tracked_values(tmp_path, fasta):
    old = resolve(masked(fasta, "--n_layers=7", "--lr=0.5", "--n_threads=3"))
    path = write_header(tmp_path / "a.ckpt", hparams=vars(old.values))
    run = resolve([f"--load_checkpoint_path={path}", "--lr=0.25"])
    assert (run.values.task, run.values.n_layers, run.values.lr) == ("masked", 7, 0.25)
    assert run.values.n_threads is None


def test_a_resumed_run_is_the_same_run_or_refused(tmp_path, fasta):
    old = resolve(masked(fasta, "--n_layers=7"))
    path = write_header(tmp_path / "a.ckpt", hparams=vars(old.values))
    run = resolve([f"--resume_from_checkpoint={path}", "--max_epochs=20"])
    assert (run.values.n_layers, run.values.max_epochs) == (7, 20)
    with pytest.raises(HparamError, match="n_layers was 7 and is now 8"):
        resolve([f"--resume_from_checkpoint={path}", "--n_layers=8"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": "99.0.0"}, r"written by seqmodel 99\.0\.0.*update seqmodel"),
        ({"version": "x"}, "'x' is not a version"),
        ({"hparams": 3}, "not a table"),
    ],
)
def test_foreign_headers_are_refused(tmp_path, fasta, values, message):
    path = write_header(tmp_path / "a.ckpt", **values)
    with pytest.raises(CheckpointError, match=message):
        resolve(masked(fasta, f"--load_checkpoint_path={path}"))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, fasta):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="not a checkpoint that seqmodel wrote"):
        resolve(masked(fasta, f"--load_checkpoint_path={path}"))
    with pytest.raises(CheckpointError, match="no such file"):
        resolve(masked(fasta, f"--load_encoder_from_checkpoint={tmp_path}/b.ckpt"))


def test_testing_without_a_model_is_refused(fasta):
    with pytest.raises(HparamError, match="--mode=test needs a trained model"):
        resolve(masked(fasta, "--mode=test"))


def test_help_lists_just_what_was_chosen():
    text = help_text(["--task=classify", "--encoder=dilated_conv", "--help=all"])
    assert "* classify " in text
    assert "--dilation_cycle" in text
    assert "--n_heads" not in text
    assert "--label_columns" in text  # no dataset is chosen yet: the options of all of them


def test_help_takes_no_torch():
    code = (
        "import sys; from seqmodel.run import main; main(['--task=classify', '--help']);"
        "assert not {'torch', 'numpy', 'pytorch_lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_of_hyperparameters_is_current():
    assert (ROOT / "docs/hparams.md").read_text(encoding="utf-8") == docs.markdown(), (
        "docs/hparams.md is stale: run `make docs`"
    )


# -- what a checkpoint brings along of its data ----------------------------------------------------


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A working folder with tables, intervals and the header of a model of one table's labels."""
    monkeypatch.chdir(tmp_path)
    for name in ("old.csv", "new.csv", "old.bed", "new.bed", "old.fa", "new.fa"):
        Path(name).write_text("")
    given = ["--task=multilabel", "--dataset=table", "--train_files=old.csv", "--seq_len=50"]
    given += ["--label_kind=multilabel", "--label_columns", "a", "b"]
    old = resolve([*given, "--valid_prop=0.1", "--test_prop=0.2"])
    write_header("table.ckpt", hparams=vars(old.values))
    given = ["--task=classify", "--dataset=bed", "--fasta=old.fa", "--intervals=old.bed"]
    given += ["--valid_contigs=b", "--test_contigs=c", "--class_names", "x", "y"]
    old = resolve([*given, "--seq_len=50"])
    write_header("bed.ckpt", hparams=vars(old.values))
    return tmp_path


LOADED = "--load_checkpoint_path=table.ckpt"


def test_every_hyperparameter_of_a_dataset_says_what_it_is_about():
    from seqmodel.hparam.dataset import DatasetHparams
    from seqmodel.hparam.hparams import GROUPS

    of_datasets = {
        name: h
        for cls in known_hparams()
        if issubclass(cls, DatasetHparams)
        for name, h in cls.default_hparams().declared.items()
    }
    assert len(of_datasets) > 40
    assert {name for name, h in of_datasets.items() if h.group not in GROUPS} == set()


DATA = "train_files valid_files test_files fasta intervals contig_aliases blacklist fold_json"
DATA += " peaks tracks"
PATHS = {
    "file": f"{DATA} load_checkpoint_path load_encoder_from_checkpoint config "
    "resume_from_checkpoint requirements ssh_config",
    "folder": "hf_path workdir venv wheels node_storage",
    "output": "default_root_dir cache_dir job_out_dir",
    "any": "stage_paths table",
}


def test_every_hyperparameter_that_is_a_path_is_declared_as_one():
    found = {n: h for cls in known_hparams() for n, h in cls.default_hparams().declared.items()}
    of_kind = {kind: names.split() for kind, names in PATHS.items()}
    assert {n: h.type.path_kind for n, h in found.items() if h.type.path_kind} == {
        name: kind for kind, names in of_kind.items() for name in names
    }
    assert {n for n, h in found.items() if h.group == "place"} == set(DATA.split())


@pytest.mark.parametrize("kind", ["file", "folder", "output", "any"])
def test_a_path_may_be_a_pathlib_path_and_is_kept_as_it_was_given(kind):
    one_line = path(kind, one_line=True)
    for raw in ("a/../b.fa", "~/b.fa", "b.fa", "/x y/b\n.fa", "\udcff"):
        assert path(kind)(raw) == raw
    assert path(kind)(Path("a/b.fa")) == "a/b.fa"
    with pytest.raises(argparse.ArgumentTypeError, match="path.*without a newline, got"):
        one_line("a\nb")
    for raw in (3, True, b"a", "a\0b", ["a"]):
        with pytest.raises(argparse.ArgumentTypeError, match="must be .* path.*, got"):
            path(kind)(raw)


def test_a_file_that_an_encoder_of_a_plugin_reads_is_looked_for(plugin, fasta):
    text = '''
from seqmodel.hparam.model import EncoderHparams
from seqmodel.hparam.value import path
class MotifHparams(EncoderHparams):
    """Scores of motifs."""
    name = "motif"
    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--motif_file", type=path(), help="motifs, in the format of MEME")
'''
    Path("motif_plugin.py").write_text(text)
    given = [
        *masked(fasta),
        "--dataset=fasta",
        "--plugins=motif_plugin",
        "--encoder=motif",
        "--motif_file=m.meme",
    ]
    with pytest.raises(HparamError, match=r"--motif_file: m\.meme: no such file"):
        resolve(given)
    assert ("--motif_file", "m.meme") in resolve(given, files_here=False).files
    Path("m.meme").touch()
    assert resolve(given).values.motif_file == "m.meme"


def test_a_place_of_data_that_is_no_path_is_refused():
    from seqmodel.hparam.dataset import DatasetHparams

    class PlaceHparams(DatasetHparams):
        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--h5", group="place", help="a file")

    with pytest.raises(HparamError, match=r"group='place' is for paths.*type=path\(\)"):
        PlaceHparams.default_hparams()


@pytest.mark.parametrize("form", ["command line", "dict", "config"])
def test_data_that_are_given_replace_those_of_the_checkpoint_as_a_whole(tables, form):
    if form == "dict":
        given = {"mode": "test", "load_checkpoint_path": "table.ckpt", "test_files": ["new.csv"]}
    elif form == "config":
        Path("c.json").write_text('{"test_files": ["new.csv"]}')
        given = ["--mode=test", LOADED, "--config=c.json"]
    else:
        given = ["--mode=test", LOADED, "--test_files=new.csv"]
    v = resolve(given).values
    assert (v.train_files, v.test_files) == ([], ["new.csv"])
    assert (v.valid_prop, v.test_prop) == (0.0, 0.0)
    assert (v.label_columns, v.label_kind, v.seq_len) == (["a", "b"], "multilabel", 50)


@pytest.mark.parametrize("given", ["--valid_prop=0.5", "--lr=0.1", "--split_column=s"])
def test_any_place_or_split_that_is_given_replaces_all(tables, given):
    v = resolve([LOADED, "--train_files=new.csv", given]).values
    assert (v.train_files, v.test_prop) == (["new.csv"], 0.0)


def test_without_data_given_those_of_the_checkpoint_are_used(tables):
    v = resolve([LOADED, "--mode=test", "--batch_size=7", "--label_kind=multilabel"]).values
    assert (v.train_files, v.valid_prop, v.test_prop) == (["old.csv"], 0.1, 0.2)


def test_half_of_the_data_is_refused_and_told_why(tables):
    message = r"--fasta is not set.*\(--intervals is given, so the files and splits of the checkp"
    with pytest.raises(HparamError, match=message):
        resolve(["--load_checkpoint_path=bed.ckpt", "--intervals=new.bed"])
    with pytest.raises(HparamError, match=r"--train_files is not set.*\(--valid_prop is given"):
        resolve([LOADED, "--valid_prop=0.3"])
    with pytest.raises(HparamError) as refused:  # what has to do with no data is told as before
        resolve([LOADED, "--test_files=new.csv", "--load_encoder_from_checkpoint=bed.ckpt"])
    assert "splits of the checkpoint" not in str(refused.value)


def test_another_dataset_drops_the_files_of_the_first(tables):
    given = ["--load_checkpoint_path=bed.ckpt", "--dataset=table"]
    with pytest.raises(HparamError, match=r"--train_files is not set.*\(--dataset is given"):
        resolve(given)
    with pytest.raises(HparamError, match=r"--fasta is not set"):
        resolve([LOADED, "--dataset=fasta"])
    v = resolve([*given, "--test_files=new.csv", "--label_columns=kind"]).values
    assert (v.dataset, v.class_names, v.seq_len) == ("table", ["x", "y"], 50)


def test_an_encoder_brings_nothing_of_its_data(tables):
    given = ["--task=classify", "--dataset=table", "--train_files=new.csv"]
    v = resolve([*given, "--load_encoder_from_checkpoint=bed.ckpt"]).values
    assert vars(v).keys() & {"fasta", "intervals"} == set()
    assert (v.class_names, v.seq_len, v.test_files) == ([], None, [])


def test_other_values_of_targets_are_refused(tables):
    with pytest.raises(HparamError, match=r"--label_kind was 'multilabel' when table\.ckpt"):
        resolve([LOADED, "--mode=test", "--label_kind=real"])


@pytest.mark.parametrize(
    "given",
    [
        [LOADED, "--mode=test"],
        [LOADED, "--mode=test", "--test_files=new.csv"],
        [LOADED, "--label_columns=", "--train_files=new.csv", "--lr=1e-3"],
        ["--load_checkpoint_path=bed.ckpt", "--class_names=", "--seq_len="],
    ],
)
def test_the_command_line_of_a_run_gives_it_again_also_with_a_checkpoint(tables, given):
    """Defaults that replace what a checkpoint brings along must be written."""
    run = resolve(given)
    assert resolve(run.to_args()).values == run.values


def test_a_default_that_replaces_a_value_of_the_checkpoint_travels(tables, fasta):
    old = resolve(masked(fasta, "--lr=0.5", "--n_layers=7"))
    write_header("m.ckpt", hparams=vars(old.values))
    run = resolve(["--load_checkpoint_path=m.ckpt", "--lr=1e-3"])
    again = resolve(run.to_args())
    assert (again.values.lr, again.values.n_layers) == (1e-3, 7)
