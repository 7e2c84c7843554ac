"""Values that a file must not set, because they mean "run this" or "trust this". Light.

A checkpoint, or the record of a run that is used as --config, contains all hyperparameters of its
run. Those declared with inherited=False are withheld: the plugins of such a file are reported, and
imported only after the user gives them again; other values must be given again. A config file that
is not a record comes from the user and is trusted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import Hparam
from seqmodel.hparam.plugin_files import plugin_digest, plugin_file

# hyperparameters that decide on trust, before any other is known
TRUST = ("plugins", "trust_plugins", "config")


class Source(NamedTuple):
    """A file that a run wrote, its hyperparameters, and the digests of its plugins if recorded."""

    path: str
    values: Mapping[str, object]
    digests: object = None

    @property
    def plugins(self) -> list[str]:
        """The names of its plugins."""
        found = self.values.get("plugins")
        return [p for p in found if isinstance(p, str)] if isinstance(found, list) else []


def withheld(source: Source, declared: Mapping[str, Hparam]) -> Source:
    """Return `source` with only those values that must not be used."""
    held = {n: v for n, v in source.values.items() if n in declared and not declared[n].inherited}
    return source._replace(values=held)


def plugin_digests(plugins: Iterable[str]) -> dict[str, str | None]:
    """Return the current digest of each plugin, for the record of a run and its checkpoints."""
    return {plugin: plugin_digest(plugin, os.getcwd()) for plugin in plugins}


def ask_for_plugins(held: Source) -> str:
    """Return the message that names the plugins of a file and the option that imports them."""
    digests = held.digests if isinstance(held.digests, dict) else {}
    plugins = "; ".join(_about(plugin, digests.get(plugin)) for plugin in held.plugins)
    words = " ".join(f"--plugins={plugin}" for plugin in held.plugins)
    return (
        f"{held.path} names plugins, which are code and are not imported without your consent: "
        f"{plugins}; if you trust them, give {words} (or --trust_plugins); if you do not need "
        "them, give --plugins="
    )


def refuse_withheld(held: Source, declared: Mapping[str, Hparam], given: Container[str]) -> None:
    """Refuse a file with values that must be given again.

    Raises:
        HparamError: one of them differs from its default and was not given.
    """
    asked = []
    for name, value in held.values.items():
        hparam = declared.get(name)
        if hparam is None or name in TRUST or name in given:
            continue
        if (now := hparam.value(value)) != hparam.default:
            asked += [f"--{name}={text}" for text in hparam.texts(now)]
    if asked:
        raise HparamError(
            f"{held.path} was made with {' '.join(asked)}, which a file cannot set; "
            "give it again if you trust it, or give another value"
        )


def _about(plugin: str, recorded: object) -> str:
    if not all(part.isidentifier() for part in plugin.split(".")):
        return f"{plugin!r} is not a module name"
    path = plugin_file(plugin, os.getcwd(), *sys.path)
    if path is None:
        return f"{plugin!r} is not found from here"
    if not recorded:
        state = "its digest was not recorded"
    elif plugin_digest(plugin, os.getcwd()) == recorded:
        state = "unchanged: its digest equals the recorded one"
    else:
        state = "CHANGED: its digest differs from the recorded one"
    return f"{plugin!r} is {path} ({state})"
