"""Note when the first optimizer step of a process has ended: for benchmarks/whole_run.py.

Python imports this module at its start if this folder is on PYTHONPATH. It waits until torch is
imported, so the commands that are measured are those of a user, and what they import is theirs.
"""

import os
import sys
import time
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

OPTIMIZERS = "torch.optim.optimizer"
_noted = False


class AfterTorch(MetaPathFinder):
    """Adds the hook once torch has its optimizers."""

    def find_spec(self, name, path=None, target=None):
        """The usual module, which adds the hook at the end."""
        if name != OPTIMIZERS:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.register_optimizer_step_post_hook(note)

        spec.loader.exec_module = exec_module
        return spec


def note(*_):
    """Writes the time of the first step."""
    global _noted
    if not _noted:
        _noted = True
        with open(os.environ["FIRST_STEP_FILE"], "w") as file:
            file.write(str(time.monotonic()))


if os.environ.get("FIRST_STEP_FILE"):
    sys.meta_path.insert(0, AfterTorch())
