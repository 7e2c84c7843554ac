"""Maker: write the files of replicates on one host from hyperparameters.

Job (job.py) submits, finds and cancels what this module creates. All checks are done before a
folder is created.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.canonical import Workdir
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.job import JobHparams
from seqmodel.hparam.resolve import Run, resolve
from seqmodel.job import agent
from seqmodel.job.agent import KEPT
from seqmodel.job.contents import (
    code_files,
    header_there,
    needs,
    node_functions,
    refuse_foreign,
    replicate_files,
    template_fields,
)
from seqmodel.job.os_interface import Interface, LocalInterface
from seqmodel.job.replicate import RECORD, Place, Replicate, reserve
from seqmodel.job.script.template import read_template, render
from seqmodel.job.verb import VerbRun, parts_of, refuse_trials, resolve_verb

if TYPE_CHECKING:
    from seqmodel.record.code import Code

OURS = ("default_root_dir", "resume_from_checkpoint", "fast_dev_run")


def path_of(cls: type) -> str:
    """Return the name of a class as `module:Class`."""
    return f"{cls.__module__}:{cls.__qualname__}"


class Maker:
    """Writes the settings, fields and scripts of the runs of a job.

    Args:
        interface: Interface of the host. If unset: this host.
        settings: Hyperparameters of the job.

    Attributes:
        parser: Parser of the settings.
        code: Code of the most recently created replicates; None if none were created.
        root: Absolute path of job_out_dir on the host; "" before it is known.
    """

    kind: ClassVar[str] = ""  # shell or slurm
    hparams_class: ClassVar[type[JobHparams]] = JobHparams
    template: ClassVar[str] = ""

    def __init__(self, interface: Interface | None = None, **settings: Any) -> None:
        if not self.kind:
            raise JobError(
                f"{type(self).__name__} cannot be used directly; use ShellJob for processes of a "
                "host, or SlurmJob for jobs of a cluster"
            )
        self.interface = interface or LocalInterface()
        self.parser = self.hparams_class.default_hparams()
        self.settings: dict[str, Any] = settings
        self._settings({})
        self.root = ""
        self.code: Code | None = None
        self._headers: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({self.interface!r}{given})"

    def create(self, **hparams: Any) -> Replicate:
        """Create the next replicate of a run without submitting it."""
        if hparams.get("verb"):
            raise JobError(
                "a verb has one replicate for each part; use create_all() to create them"
            )
        return self.create_all([hparams])[0]

    def create_all(self, runs: Sequence[Mapping[str, Any]]) -> list[Replicate]:
        """Create a replicate of each run, and of each part of a verb; none if one is invalid."""
        made, files, place = self._make(runs)
        self.interface.call(agent.write_files, timeout=300, root=place.root, files=files)
        return made

    def script(self, **hparams: Any) -> str:
        """Return the script that submit() would write, for version_0 or part 1; create nothing.

        Afterwards, `code.listing()` lists the files that would be copied.
        """
        given, settings = self._split(hparams)
        run = parts_of(self._resolve(given, settings))[0]
        workdir = self._workdir(settings)
        place = Place(os.path.join(workdir, settings.job_out_dir), workdir)
        self.code = self._code(run)
        fields = self._fields(run, settings, place, run.canonical(), 0, self.code)
        return self._render(fields)

    def _make(
        self, runs: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Replicate], dict[str, bytes], Place]:
        """Reserve the folders, and return what must be written there."""
        split = [self._split(hparams) for hparams in runs]
        resolved = [self._resolve(*both, i, len(runs)) for i, both in enumerate(split)]
        self._headers.clear()  # the checkpoint may change before the next submission
        first = split[0][1]
        for name in ("job_out_dir", "workdir"):
            if len({getattr(settings, name) for _, settings in split}) > 1:
                raise JobError(
                    f"{name} differs between runs of one submission; submit them separately"
                )
        by_plugins = {tuple(run.values.plugins): run for run in resolved}
        codes = [self._code(run) for run in by_plugins.values()]
        if any(code.digest != codes[0].digest for code in codes):
            raise JobError(
                "the runs of one submission have different plugins; submit them separately"
            )
        probe = Place("/", "/")
        for run, (_, settings) in zip(resolved, split, strict=True):
            self._render(self._fields(run, settings, probe, run.canonical(), 0, codes[0]))
        parts = [(*both, part) for both, run in zip(split, resolved, strict=True)
                 for part in parts_of(run)]  # fmt: skip
        needed = [need for run in resolved if isinstance(run, VerbRun) for need in run.needs()]
        place = reserve(
            self.interface,
            [run for _, _, run in parts],
            job_out_dir=first.job_out_dir,
            workdir=self._workdir(first),
            code=codes[0].digest,
            ask_arrays=self._asks_arrays and len(parts) > 1,
            needed=[*(need for _, settings in split for need in needs(settings)), *needed],
        )
        self.root, self.code = place.root, codes[0]
        files = {} if place.has_code else code_files(codes[0])
        files |= self._node_functions()
        made = []
        for (given, settings, run), (name, n) in zip(parts, place.taken, strict=True):
            made.append(Replicate(self.interface, place.root, f"{name}/version_{n}"))
            fields = self._fields(run, settings, place, name, n, codes[0])
            record = {
                "kind": type(self).__name__, "base": self.kind, "class": path_of(type(self)),
                "given": dict(given), "fields": fields,
            }  # fmt: skip
            script = self._render(fields)
            files |= replicate_files(made[-1], run, settings, codes[0], record, script)
        return made, files, place

    _asks_arrays: ClassVar[bool] = False

    def _split(self, hparams: Mapping[str, Any]) -> tuple[dict[str, Any], Namespace]:
        """Split into hyperparameters of the run and the job's settings for it."""
        own = {name: value for name, value in hparams.items() if name in self.parser.declared}
        given = {name: value for name, value in hparams.items() if name not in own}
        return given, self._settings(own)

    def _settings(self, own: Mapping[str, Any]) -> Namespace:
        settings = parse_dict(self.parser, _as_lists({**self.settings, **own}))
        self.hparams_class.checks(settings)
        return settings

    def resolve(self, hparams: Mapping[str, Any]) -> Run:
        """Return the run that these hyperparameters describe, with the checks of a submission."""
        return self._resolve(*self._split(hparams))

    def _resolve(
        self, given: Mapping[str, Any], settings: Namespace, i: int = 0, n: int = 1
    ) -> Run:
        try:
            for name in OURS:
                if given.get(name):
                    raise HparamError(f"{name!r} is set by the job itself; remove it")
            workdir = self._workdir(settings)

            def header_of(path: str) -> dict[str, Any]:
                return self._header(path, workdir)

            run: Run
            if given.get("verb"):
                refuse_trials(settings)
                run = resolve_verb(given, header_of)
            else:
                there = os.path.realpath(agent.absolute(workdir))
                is_here = self.interface.is_local and there == os.path.realpath(".")
                run = resolve(given, files_here=False, header_of=header_of, guesses=is_here)
            run.workdir = Workdir(workdir, self.interface.is_local)
            return run
        except HparamError as e:
            if n == 1:
                raise
            raise HparamError(f"run {i + 1} of {n}: {e}") from e

    def header(self, path: str) -> dict[str, Any]:
        """Read the header of a checkpoint on the host of the job, with the job's own settings."""
        return self._header(path, self._workdir(self._settings({})))

    def _header(self, path: str, workdir: str) -> dict[str, Any]:
        """Read the header of a checkpoint on the host of the job; over SSH once per submission."""
        if self.interface.is_local or (path, workdir) not in self._headers:
            self._headers[path, workdir] = header_there(self.interface, path, workdir)
        return self._headers[path, workdir]

    def _workdir(self, settings: Namespace) -> str:
        if settings.workdir is not None:
            return settings.workdir
        return os.getcwd() if self.interface.is_local else "~"

    def _code(self, run: Run) -> Code:
        from seqmodel.record.code import current_code

        return current_code(run.values.plugins)

    def _node_functions(self) -> dict[str, bytes]:
        name, data = node_functions()
        if self.interface.is_local and os.path.exists(f"{self.root}/{KEPT}/code/{name}"):
            return {}
        return {f"{KEPT}/code/{name}": data}

    def _fields(
        self, run: Run, settings: Namespace, place: Place, canonical: str, n: int, code: Code
    ) -> dict[str, Any]:
        from seqmodel.record.code import ROOT

        local = self.interface.is_local
        return {
            **template_fields(run, settings, place, canonical, n, code),
            "code_path": ROOT if local else place.workdir,
            "python": settings.python or (sys.executable if local else "python3"),
            "template": settings.template or self.template,
            **self._more_fields(run, settings),
        }

    def _more_fields(self, run: Run, settings: Namespace) -> dict[str, Any]:
        return {}

    def _render(self, fields: Mapping[str, Any]) -> str:
        name = fields["template"]
        text = read_template(name)
        for field in ("setup", "env"):
            if fields[field] and f"{{{field}}}" not in text:
                raise JobError(
                    f"template {name}: no field {{{field}}}, so --{field} has no effect; add it"
                )
        return render(text, fields, name)

    def _again(
        self,
        records: Mapping[Replicate, Mapping[str, Any]],
        settings: Mapping[str, Any],
    ) -> dict[str, bytes]:
        """Return the scripts of resubmitted replicates, with the current settings."""
        files: dict[str, bytes] = dict(self._node_functions())
        for replicate, record in records.items():
            if "fields" not in record or "settings" not in record:
                raise JobError(
                    f"{replicate.path}/{RECORD}: damaged, the fields of the script are missing"
                )
            refuse_foreign(replicate, record["fields"])
            # records of version 0.1 lack the first two
            fields = {"setup": [], "env": [], **record["fields"]}
            before = {n: v for n, v in record["settings"].items() if n in self.parser.declared}
            changed = parse_dict(self.parser, _as_lists({**before, **settings}))
            fields |= self._changed_fields(fields, changed, settings)
            fields["node_functions"] = f"{replicate.root}/{KEPT}/code/{node_functions()[0]}"
            files[f"{replicate.folder}/{replicate.script_name}"] = self._render(fields).encode(
                "utf-8", "surrogateescape"
            )
        return files

    def _changed_fields(
        self, fields: Mapping[str, Any], settings: Namespace, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        names = [name for name in given if name in fields]
        return {name: getattr(settings, name) for name in names}


def _as_lists(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings; a dict of environment variables becomes a list of NAME=value."""
    env = settings.get("env")
    if not isinstance(env, Mapping):
        return dict(settings)
    return {**settings, "env": [f"{name}={value}" for name, value in env.items()]}


def known_settings(jobs: Sequence[Maker], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings that each job has.

    Raises:
        HparamError: No job has one of the settings.
    """
    for name in settings:
        if jobs and not any(name in job.parser.declared for job in jobs):
            jobs[0].parser.hparam(name)  # the error suggests the nearest name
    return [{n: v for n, v in settings.items() if n in job.parser.declared} for job in jobs]
