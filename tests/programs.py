"""Outside programs that some tests compare with (bedtools, ...): skip without them, fail in CI."""

import os
import shutil

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
