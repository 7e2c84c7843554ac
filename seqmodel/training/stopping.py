"""Stopping on a signal: save at the end of the optimiser step, then exit with a code of its own.

A job's time limit announces itself by a signal. SIGUSR1 means "save and stop, you will be resumed";
SIGTERM means the same without the promise. While training, the state is saved where a resumed run
loses nothing; before and after it the process ends at once, since last.ckpt is then complete.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

# stopped by a signal, after saving: 75 is "try again later" of sysexits.h, 143 the shell's SIGTERM
EXIT_CODES = {signal.SIGUSR1: 75, signal.SIGTERM: 143}


class StopOnSignal(Callback):
    """Ends training after the step in which a signal came to any of the ranks.

    `due` is asked by LastCheckpoint, which saves; `leave` then ends the process.
    """

    def __init__(self) -> None:
        self._received = 0  # written by the handler alone: it may run at any time
        self._code = 0  # what all ranks agreed upon
        self._training = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._before = {number: signal.getsignal(number) for number in EXIT_CODES}
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        self._handle(self._before)  # a notebook continues after the run

    def install(self) -> None:
        """Takes the signals over."""
        self._handle(dict.fromkeys(EXIT_CODES, self._receive))

    def _handle(self, handlers: dict[signal.Signals, Any]) -> None:
        # elsewhere than in the main thread Python allows no handlers
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """From here on a signal waits for the end of the step."""
        self.install()  # Lightning has put its own handler for SIGTERM in place
        self._training = True

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """From here on nothing is left to be saved; a signal that nobody asked for ends it now."""
        self._training = False
        if self._received:
            self._code = self._received
            self.leave()

    def due(self, trainer: Trainer) -> bool:
        """Whether any rank was signalled; asked by all ranks at the same batch."""
        self._code = self._received
        if trainer.world_size > 1:
            code = torch.tensor(self._code, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(code, torch.distributed.ReduceOp.MAX)
            self._code = int(code)
        return self._code > 0

    def leave(self) -> None:
        """Ends the process with the exit code of the signal.

        Raises:
            SystemExit: always.
        """
        raise SystemExit(self._code)

    def _receive(self, number: int, frame: FrameType | None) -> Any:
        self._received = EXIT_CODES[signal.Signals(number)]
        if not self._training:
            self._code = self._received
            self.leave()
