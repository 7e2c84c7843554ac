"""--help shows what matters first, and a name of another program is understood."""

import re
import subprocess
import sys

import pytest
from option_list import options

from seqmodel.cli import main
from seqmodel.cli.verbs import VERBS
from seqmodel.errors import HparamError
from seqmodel.hparam.help import _OF_NAME, FIRST, TOPICS, help_text, topic_of
from seqmodel.hparam.registry import known_hparams, role_choices
from seqmodel.hparam.resolve import resolve
from seqmodel.hparam.synonyms import SYNONYMS, hint

NAMES = {hparam.name for hparam in options()}
RUN = ["--task=classify", "--dataset=table", "--train_files=a.csv"]


def shown(text):
    """The options that a page of help describes, in order."""
    return [
        line.split()[0][2:].partition("=")[0]
        for line in text.splitlines()
        if line.startswith("  --")
    ]


def test_help_of_a_run_shows_at_most_ten_options_and_the_topics():
    text = help_text(["--help"])
    assert 8 <= len(shown(text)) <= 10
    assert all(f"\n  {topic} " in text for topic in ("data", "splits", "model", "training"))
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("role", ["task", "dataset", "encoder", "decoder", "optimiser", "schedule"])
def test_every_choice_has_a_line_from_its_class(role):
    text = " ".join(help_text(["--help=all"]).split())
    for name, cls in role_choices(known_hparams())[role].items():
        assert f"{name} {' '.join(cls.__doc__.split(chr(10))[0].split())}" in text, (role, name)


def test_all_shows_each_option_once_and_topics_share_them_out():
    every = shown(help_text(["--help=all"]))
    assert len(every) == len(set(every)) > 140
    parts = []
    for topic in TOPICS:
        try:
            parts += shown(help_text([f"--help={topic}"]))
        except HparamError:  # no option of a run has it
            continue
    assert sorted(parts) == sorted(every)


def test_one_option_can_be_asked_for():
    assert shown(help_text(["--help=lr"])) == ["lr"]
    with pytest.raises(HparamError, match=r"--help=modl: no such topic.* did you mean 'model'"):
        help_text(["--help=modl"])


def test_every_option_of_a_run_or_a_job_has_a_topic():
    assert not set(_OF_NAME) - NAMES
    assert not {n for names in FIRST.values() for n in names.split()} - NAMES
    of_run = [h for cls in known_hparams() for h in cls.default_hparams().declared.values()]
    assert not sorted({h.name for h in of_run if topic_of(h) == "verb"})


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_fits_and_names_no_class(verb, capsys):
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert not re.search(r"\wHparams", out)
    assert max(map(len, out.splitlines())) <= 110, out  # an example of a command may be long


def test_help_does_not_import_what_is_heavy():
    code = (
        "import sys; from seqmodel.cli import main; main(['run', '--help=all']);"
        "print(sorted({'torch', 'numpy', 'email', 'ssl'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


# -- names that other programs use -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--learning_rate=1", "'lr'"),
        ("--learning-rate=1", "'lr'"),
        ("--epochs=3", "'max_epochs'"),
        ("--n_epochs=3", "'max_epochs'"),
        ("--batch-size=3", "'batch_size'"),
        ("--gpus=1", "'devices'"),
        ("--model=cnn", "'encoder'"),
        ("--csv=a.csv", "'train_files'"),
        ("--input=a.csv", "'train_files'"),
        ("--out=a", "'default_root_dir'"),
        ("--drop_rate=0.1", "'dropout'"),
        ("-lr", "'lr'"),
    ],
)
def test_a_usual_name_is_answered_with_ours(typed, meant):
    with pytest.raises(HparamError) as caught:
        resolve([*RUN, typed], files_here=False)
    message = str(caught.value)
    assert message.startswith("no hyperparameter ")
    assert f"did you mean {meant}" in message or f"or {meant}" in message
    assert "Hparams" not in message


def test_synonyms_lead_to_names_that_exist():
    for name, meant in SYNONYMS.items():
        assert set(meant) <= NAMES, name
        assert hint(name, meant) == f"; did you mean {' or '.join(map(repr, meant))}?"


def test_a_name_without_a_synonym_gets_the_most_similar_one():
    assert hint("n_layer", {"n_layers", "lr"}) == "; did you mean 'n_layers'?"
    assert hint("quux", {"n_layers", "lr"}) == ""


def test_an_option_of_another_choice_is_named_with_that_choice():
    with pytest.raises(HparamError, match="belongs to --encoder=cnn or --encoder=conv_lstm; leave"):
        resolve([*RUN, "--pool_size=2"], files_here=False)
