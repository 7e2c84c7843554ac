"""A private sshd on loopback for tests, with its own keys and a client configuration.

with Sshd() as sshd:
    SshInterface("testcluster", config=str(sshd.config), open_master=True)
"""

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from cluster.slurm import free_ports

HOST = "testcluster"


class Sshd:
    """An sshd.

    Args:
        env: what its sessions have in their environment beside the usual.
        login: bash that each session runs before its command, as ~/.bashrc does.
    """

    def __init__(self, env=None, login=""):
        self.login = login
        self.base = Path(tempfile.mkdtemp(prefix="sh", dir="/tmp"))
        self.config = self.base / "config"
        self.env = env or {}
        self.pid_file = self.base / "sshd.pid"

    def __enter__(self):
        self._write_files()
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)

    def start(self):
        with contextlib.suppress(OSError):
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        command = [sshd, "-f", str(self.base / "sshd_config"), "-E", str(self.base / "log")]
        subprocess.run(command, check=True, timeout=20, stdin=subprocess.DEVNULL)
        for _ in range(100):
            if self.pid_file.exists():
                return
            time.sleep(0.02)
        raise RuntimeError((self.base / "log").read_text())

    def stop(self):
        """Ends the master connections, the sessions and the sshd, as a machine that goes down."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pid_file.read_text())
            for child in reversed(_descendants(pid)):
                with contextlib.suppress(OSError):
                    os.kill(child, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)

    def kill_sessions(self):
        """Cuts all connections; the sshd stays."""
        for child in _descendants(int(self.pid_file.read_text()))[1:]:
            with contextlib.suppress(OSError):
                if b"sshd" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)

    def open_master(self):
        """What a user types in another terminal."""
        subprocess.run(
            ["ssh", "-F", str(self.config), "-fNM", "-o", "ControlPersist=600", HOST],
            check=True, timeout=20, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close_master(self):
        """Ends the master connection as its user does."""
        command = ["ssh", "-F", str(self.config), "-O", "exit", HOST]
        subprocess.run(command, check=False, timeout=20, capture_output=True)

    def _write_files(self):
        b = self.base
        b.chmod(0o700)
        for name in ("host_key", "id"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(b / name)]
            subprocess.run(command, check=True, timeout=20)
        port = free_ports(1)[0]
        (b / "authorized_keys").write_text((b / "id.pub").read_text())
        (b / "authorized_keys").chmod(0o600)
        key = " ".join((b / "host_key.pub").read_text().split()[:2])
        (b / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        force = ""
        if self.login:
            shell = b / "login_shell"
            shell.write_text(f'#!/bin/bash\n{self.login}\nexec bash -c "$SSH_ORIGINAL_COMMAND"\n')
            shell.chmod(0o755)
            force = f"ForceCommand {shell}\n"
        env = " ".join(f'{name}="{value}"' for name, value in self.env.items())
        (b / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {b}/host_key\nPidFile {self.pid_file}\n"
            f"AuthorizedKeysFile {b}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nUsePAM no\n"
            "PrintMotd no\nMaxSessions 20\nMaxStartups 100\n"
            f"{f'SetEnv {env}' if env else ''}\n{force}"
        )
        self.config.write_text(
            f"Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {b}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {b}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
            f"  ControlPath {b}/cm-%C\n  LogLevel ERROR\n"
        )


def _descendants(pid):
    """`pid` and all processes below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = entry.read_text()
            parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(
                int(entry.parent.name)
            )
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found
