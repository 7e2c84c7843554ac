"""Jobs: runs in a shell or under Slurm, on this host or over SSH. Light: standard library only.

    from seqmodel.job import ShellJob, SlurmJob, SshInterface
    job = SlurmJob(SshInterface("cedar"), workdir="/project/me/dna", slurm_account="def-me")
    job.submit(task="masked", fasta="data/hg38.fa", seq_len=512)

agent and launch hold the operations on the host of the jobs, and os_interface calls them there.
replicate and state describe the folders and read their states. making writes the files of a run,
with template. job, shell and slurm submit them.
"""

_LAZY = {
    "LocalInterface": "seqmodel.job.os_interface",
    "SshInterface": "seqmodel.job.os_interface",
    "Job": "seqmodel.job.job",
    "ShellJob": "seqmodel.job.shell",
    "SlurmJob": "seqmodel.job.slurm",
    "Replicate": "seqmodel.job.replicate",
    "status": "seqmodel.job.status_table",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """Return the named object, which is imported on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'seqmodel.job' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
