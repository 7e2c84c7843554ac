"""Outside programs that some tests compare with (bedtools, ...): skip without them, fail in CI."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

PACKAGES = {
    "bedtools": "bedtools",
    "rsync": "rsync",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "sbatch": "slurm-client",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "munged": "munge",
    "faketime": "faketime",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}


def need(program: str) -> str:
    """Path of `program`; without it the calling test is skipped, or fails where CI=true."""
    # daemons are not on everybody's path
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is not None:
        return path
    message = (
        f"{program} is not installed; on Debian and Ubuntu: apt-get install {PACKAGES[program]}"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def forget_plugins(monkeypatch):
    """Forgets the modules that were imported from temporary folders, and these folders."""
    from seqmodel.hparam import plugin

    kept = tuple(f"{x}/" for x in (Path(__file__).parents[1], sys.prefix))  # may be temporary too

    def is_forgotten(path):
        return path.startswith(tempfile.gettempdir()) and not f"{path}/".startswith(kept)

    monkeypatch.setattr(sys, "path", [x for x in sys.path if not is_forgotten(x)])
    monkeypatch.setattr(plugin, "_added", [])
    for name, module in list(sys.modules.items()):
        if is_forgotten(str(getattr(module, "__file__", None) or "")):
            del sys.modules[name]
