"""A private Slurm for tests: one machine plays all its nodes, everything lies below one folder.

    with Slurm(n_nodes=2, fast=10) as slurm:
        subprocess.run(["sinfo"], env=slurm.env)

Needs slurmctld, slurmd, munged and, with `fast`, libfaketime; works as root and as anybody. Facts
that shaped it: time limits are whole minutes, checked twice a minute, so slurmctld runs on a clock
that is `fast` times as fast (--time=1 then ends within 10 s, a requeue takes a second);
stopping slurmd does not end its jobs; sinfo hangs for minutes without slurmctld.
"""

import contextlib
import getpass
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
MAX_ARRAY = 1001


class Slurm:
    """A cluster of `n_nodes` nodes of `cpus` CPUs each, running from __enter__ to __exit__."""

    def __init__(self, n_nodes=2, fast=10, cpus=16):
        self.n_nodes, self.fast, self.cpus = n_nodes, fast, cpus
        # unix sockets have short names
        self.base = Path(tempfile.mkdtemp(prefix="sq", dir="/tmp"))
        self.conf = self.base / "etc/slurm.conf"
        self.env = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.started = []
        self.began = time.monotonic()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self._write_files()
        run = self.base / "run"
        munge = [f"--{n}={run}/munge.{n[0:3]}" for n in ("pid-file", "log-file", "seed-file")]
        self._daemon(
            ["munged", f"--key-file={run}/munge.key", f"--socket={run}/munge.sock", *munge],
            run / "munge.pid",
        )
        self.start_controller()
        for i in range(1, self.n_nodes + 1):
            self.start_node(i)
        self._wait_idle()

    def start_controller(self):
        env = dict(self.env)
        if self.fast:
            library = glob.glob(FAKETIME)[0]
            # one that is started again goes on with the time that the last one had
            ahead = (self.fast - 1) * (time.monotonic() - self.began)
            env |= {
                "LD_PRELOAD": library,
                "FAKETIME": f"+{ahead:.0f}s x{self.fast}",
                "DONT_FAKE_MONOTONIC": "1",
            }
        self._daemon(["slurmctld", "-f", str(self.conf), "-i"], self.base / "run/ctld.pid", env)

    def start_node(self, i):
        self._daemon(
            ["slurmd", "-f", str(self.conf), "-N", f"node{i}"], self.base / f"run/node{i}.pid"
        )

    def stop_controller(self):
        self._end(self.base / "run/ctld.pid")

    def kill_node(self, i):
        """The node vanishes: its daemon and all its processes are killed, and it is down."""
        self._end(self.base / f"run/node{i}.pid", signal.SIGKILL)
        self._kill_steps(f"{self.base}/log/node{i}")  # first, or they report how their job ended
        self._kill_processes(f"SLURMD_NODENAME=node{i}")
        self.call("scontrol", "update", f"nodename=node{i}", "state=down", "reason=test")

    def call(self, *args, check=True):
        done = subprocess.run(args, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def states(self):
        """Job id to (state, name) of all jobs that slurmctld still knows."""
        out = self.call("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%j")
        rows = [line.split("|", 2) for line in out.splitlines()]
        return {row[0]: (row[1], row[2]) for row in rows}

    def stop(self):
        with contextlib.suppress(Exception):
            self.call("scancel", "-u", getpass.getuser(), check=False)
        for _ in range(50):
            with contextlib.suppress(Exception):
                if not self.call("squeue", "-h", check=False).strip():
                    break
            time.sleep(0.1)
        for pid_file in reversed(self.started):
            self._end(pid_file)
        self._kill_steps(f"{self.base}/log")
        self._kill_processes("SLURMD_NODENAME=")
        shutil.rmtree(self.base, ignore_errors=True)

    def _daemon(self, command, pid_file, env=None):
        subprocess.run(
            command, env=env or self.env, check=True, timeout=30, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.started.append(pid_file)
        for _ in range(100):
            if pid_file.exists() and pid_file.read_text().strip():
                return
            time.sleep(0.02)

    def _end(self, pid_file, how=signal.SIGTERM):
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            os.kill(pid, how)
            for _ in range(100):
                if _ended(pid):
                    return
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)

    def _kill_processes(self, mark):
        """Kills the processes of jobs of this cluster, told by their environment."""
        for entry in glob.glob("/proc/[0-9]*"):
            with contextlib.suppress(OSError):
                words = Path(entry, "environ").read_bytes().decode("utf-8", "replace").split("\0")
                if f"SLURM_CONF={self.conf}" in words and any(w.startswith(mark) for w in words):
                    os.kill(int(entry.rsplit("/", 1)[1]), signal.SIGKILL)

    def _kill_steps(self, log):
        """Kills the guardians of jobs: their working directory is that of their node's log."""
        for entry in glob.glob("/proc/[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(f"{entry}/cwd").startswith(log):
                    os.kill(int(entry.rsplit("/", 1)[1]), signal.SIGKILL)

    def _wait_idle(self):
        for _ in range(300):
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                if (
                    len(self.call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split())
                    == self.n_nodes
                ):
                    return
            time.sleep(0.05)
        log = (self.base / "log/ctld.log").read_text()[-2000:]
        raise RuntimeError(f"the test cluster did not come up:\n{log}")

    def _write_files(self):
        b = self.base
        b.chmod(0o755)
        for name in ("etc", "state", "log", "run", "scratch"):
            (b / name).mkdir(mode=0o755)
        (b / "state").chmod(0o700)
        key = b / "run/munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        ports = free_ports(self.n_nodes + 1)
        nodes = "\n".join(
            f"NodeName=node{i} NodeHostname={host_name()} NodeAddr=127.0.0.1 "
            f"Port={ports[i]} CPUs={self.cpus} RealMemory=64000 Gres=gpu:1"
            for i in range(1, self.n_nodes + 1)
        )
        for i in range(1, self.n_nodes + 1):
            (b / f"spool/node{i}").mkdir(parents=True)
            (b / f"log/node{i}").mkdir()
        scratch = f"{b}/scratch/$SLURMD_NODENAME.$SLURM_JOB_ID"
        own_disk = 'mkdir -p "$d" && chown "$SLURM_JOB_UID" "$d"'
        self._script("prolog", f"d={scratch}\n{own_disk}")
        self._script("epilog", f'd={scratch}\nrm -rf "$d"')
        # the names of the nodes mean nothing to the resolver of this machine
        self._script(
            "task_prolog",
            f'd={scratch}\necho "export SLURM_TMPDIR=$d"\necho export MASTER_ADDR=127.0.0.1',
        )
        self.conf.write_text(_conf(b, ports[0], self.n_nodes, nodes, bool(self.fast)))
        (b / "etc/gres.conf").write_text("Name=gpu File=/dev/null\n")
        (b / "etc/cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainRAMSpace=no\n")

    def _script(self, name, text):
        path = self.base / f"etc/{name}.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


def _conf(base, port, n_nodes, nodes, fast):
    host, user = host_name(), getpass.getuser()
    return f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={base}/run/munge.sock,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldLogFile={base}/log/ctld.log
SlurmdLogFile={base}/log/%n/slurmd.log
SlurmctldPidFile={base}/run/ctld.pid
SlurmdPidFile={base}/run/%n.pid
Prolog={base}/etc/prolog.sh
Epilog={base}/etc/epilog.sh
TaskProlog={base}/etc/task_prolog.sh
PrologFlags=Alloc
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MailProg=/bin/true
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
KillWait=5
MinJobAge=6000
InactiveLimit=0
MessageTimeout=30
SlurmctldTimeout=60
SlurmdTimeout={0 if fast else 60}
CompleteWait=0
MaxJobCount=20000
MaxArraySize={MAX_ARRAY}
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=main Nodes=node[1-{n_nodes}] Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
"""


def host_name():
    """The name of this machine, as Slurm has it."""
    return socket.gethostname().split(".")[0]


def free_ports(n):
    """`n` TCP ports that nobody listens on, below the range that outgoing connections take."""
    found = []
    start = 20000 + (os.getpid() * 37) % 10000
    for port in range(start, start + 2000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == n:
            return found
    raise RuntimeError("no free ports")


def _ended(pid):
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
