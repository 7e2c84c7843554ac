"""`seqmodel audit`: checks that a test score needs. Light until the data are opened."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from seqmodel.errors import HparamError
from seqmodel.heavy import heavy_imports
from seqmodel.hparam.audit import FAILED, AuditHparams, fail_on
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.help import asked_help, help_text
from seqmodel.hparam.paths import check_files, files_to_read
from seqmodel.hparam.resolve import read_given, resolve_data
from seqmodel.hparam.words import refuse_stray
from seqmodel.terminal import plain

USAGE = """usage: seqmodel audit --run=FOLDER [--fail_on=duplicates,overlap]
       seqmodel audit --dataset=table --train_files=train.csv --test_files=test.csv [--json]
       seqmodel audit --predictions=test_predictions.tsv
"""


def audit(argv: Sequence[str]) -> int:
    """Audit the data of a run and its test scores; return 3 for a finding of --fail_on."""
    parser = AuditHparams.default_hparams()
    if asked_help(argv) is not None:
        print(f"{USAGE}\n{help_text(argv, 'AuditHparams', parser.declared)}", end="")
        return 0
    words = read_given(argv, parser.takes())
    own = parse_dict(parser, {n: words.values.pop(n) for n in parser.declared if n in words.values})
    refuse_stray(words.free, [*words.values, *parser.declared])
    AuditHparams.checks(own)
    check_files(files_to_read(parser.declared, own))
    given = {**words.values, **words.unknown}
    if own.run:
        given.setdefault("config", _record(own.run))
    if not given and not own.predictions:
        raise HparamError(f"audit needs --run, --predictions, or the options of the data\n{USAGE}")
    run = resolve_data(given) if given else None
    if run is not None and run.guessed:
        print(plain(str(run.guessed)), file=sys.stderr)
    with heavy_imports(freeze=True):
        from seqmodel.trust.command import command

    report, text = command(run, AuditHparams(**vars(own)), _looks(own.run))
    print(json.dumps(report) if own.json else plain(text))
    wrong = {x["name"] for x in report["findings"]} & set(fail_on(own.fail_on))
    return FAILED if wrong else 0


def _looks(folder: str | None) -> int | None:
    """Return the number of runs that have scored the same test items, including this one.

    The runs are searched in the default layout of folders: <root>/<name>/version_<n>.
    """
    path = os.path.abspath(folder) if folder else ""
    if not os.path.basename(path).startswith("version_"):
        return None
    from seqmodel.job.results.looks import test_set
    from seqmodel.job.results.table import results

    sets = {x.folder: test_set(x) for x in results(os.path.dirname(os.path.dirname(path)))}
    own = next((x for x in sets if os.path.abspath(x) == path), None)
    mine = sets[own] if own else None
    return None if mine is None else sum(x == mine for x in sets.values())


def _record(folder: str) -> str:
    """Return the record of a run, which defines its data.

    Raises:
        HparamError: the folder is not a run folder.
    """
    found = os.path.join(folder, "hparams.json")
    if not os.path.isfile(found):
        raise HparamError(f"--run={folder}: not a run folder, because it has no hparams.json")
    return found
