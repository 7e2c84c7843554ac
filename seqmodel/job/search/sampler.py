"""CMA-ES of optuna, whose state is a pickle in the study; reading it runs no code.

A study is a file that others may have written, so only the classes of this state are allowed.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from seqmodel.errors import JobError

_ALLOWED = frozenset(
    [
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"numpy.{core}.multiarray", name) for core in ("core", "_core")
          for name in ("_reconstruct", "scalar")),
        *((f"cmaes._{name.lower()}", name) for name in ("CMA", "CMAwM", "SepCMA")),
    ]
)  # fmt: skip


class _State(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise JobError(
                f"the study names {module}.{name}, which is not part of the state of CMA-ES: "
                "the study was refused and nothing in it was run; move the study away"
            )
        return super().find_class(module, name)


def cma_es(optuna: ModuleType, seed: int) -> Any:
    """Return optuna's CmaEsSampler, with a safe reader of its state.

    Raises:
        JobError: This version of optuna stores the state in an unknown way.
    """
    base = optuna.samplers.CmaEsSampler
    if not hasattr(base, "_restore_optimizer") or not hasattr(base, "_concat_optimizer_attrs"):
        raise JobError(
            f"--sampler=cmaes does not work with optuna {optuna.__version__}: how it stores its "
            "state is unknown; choose another sampler"
        )

    class CmaEs(base):  # type: ignore[misc, valid-type]  # optuna is imported late
        def _restore_optimizer(self, completed_trials: Sequence[Any], *more: Any) -> Any:
            for trial in reversed(completed_trials):
                start = self._attr_key_optimizer
                kept = {k: v for k, v in trial.system_attrs.items() if k.startswith(start)}
                if kept:
                    return read_state(self._concat_optimizer_attrs(kept))
            return None

    return CmaEs(seed=seed)


def read_state(text: str) -> Any:
    """Return the object of a pickle in hex digits, `text`.

    Raises:
        JobError: The pickle is damaged, or has anything except the state of CMA-ES.
    """
    try:
        return _State(io.BytesIO(bytes.fromhex(text))).load()
    except (pickle.UnpicklingError, ValueError, EOFError, IndexError, TypeError, KeyError) as e:
        raise JobError(f"the state of CMA-ES in the study is damaged ({e})") from e
