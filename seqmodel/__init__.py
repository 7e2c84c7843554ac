"""seqmodel trains, tunes and applies deep models of biological sequences.

Names are resolved lazily (PEP 562), so `import seqmodel` imports no heavy package.
"""

VERSION = "0.2.0"
__version__ = VERSION

_LAZY = {
    "Hparams": "seqmodel.hparam",
    "Alphabet": "seqmodel.dataset.seq.alphabet",
    "DNA": "seqmodel.dataset.seq.alphabet",
    "RNA": "seqmodel.dataset.seq.alphabet",
    "PROTEIN": "seqmodel.dataset.seq.alphabet",
    "SequenceStore": "seqmodel.dataset.seq.store",
    "Intervals": "seqmodel.dataset.interval.interval",
    "calibrate": "seqmodel.trust.calibration",
    "compare": "seqmodel.trust.compare",
    "load": "seqmodel.infer.model",
    "export": "seqmodel.infer.export",
    "wrap": "seqmodel.infer.wrap",
    "train": "seqmodel.infer.trained",
    "audit": "seqmodel.trust.command",
    "results": "seqmodel.job.results.table",
    "ShellJob": "seqmodel.job.shell",
    "SlurmJob": "seqmodel.job.slurm",
    "SshInterface": "seqmodel.job.os_interface",
}

__all__ = ["VERSION", *_LAZY]


def __getattr__(name: str) -> object:
    """Return the named object; its module is imported at the first access."""
    if name not in _LAZY:
        raise AttributeError(f"module 'seqmodel' has no attribute {name!r}")
    from importlib import import_module

    from seqmodel.heavy import heavy_imports

    with heavy_imports():
        return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
