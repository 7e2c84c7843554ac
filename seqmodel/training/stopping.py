"""Stop on a signal: save at the end of the optimiser step, then exit with a code of its own.

Schedulers send a signal before a time limit. SIGUSR1 means "save and stop, you will be resumed";
SIGTERM means only "save and stop". During training, the state is saved where a resumed run loses
nothing. Before and after training, the process ends at once, because last.ckpt is then complete.
An interrupt (Ctrl-C) ends training after the current batch; a second one ends it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

# exit codes after saving: 75 is "try again later" in sysexits.h, 143 the shell's code for SIGTERM
EXIT_CODES = {signal.SIGUSR1: 75, signal.SIGTERM: 143}


class StopOnSignal(Callback):
    """End training after the step in which any rank receives a signal.

    LastCheckpoint calls `due` and saves if it is true; `leave` then ends the process.
    """

    def __init__(self) -> None:
        self._received = 0  # only the handler writes it, at any time
        self._code = 0  # the value on which all ranks agreed
        self._training = False
        self._interrupted = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        numbers = (*EXIT_CODES, signal.SIGINT)
        self._before = {number: signal.getsignal(number) for number in numbers}
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        self._handle(self._before)  # a notebook continues after the run

    def install(self) -> None:
        """Install the signal handlers."""
        self._handle(dict.fromkeys(EXIT_CODES, self._receive))
        if self._before.get(signal.SIGINT) is signal.default_int_handler:
            self._handle({signal.SIGINT: self._interrupt})

    def _handle(self, handlers: dict[signal.Signals, Any]) -> None:
        # Python allows handlers only in the main thread
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """From now on, wait for the end of the step after a signal."""
        self.install()  # Lightning has put its own handler for SIGTERM in place
        self._training = True

    def on_train_batch_end(self, *args: object) -> None:
        """End the run after an interrupt.

        Raises:
            KeyboardInterrupt: The user interrupted the run.
        """
        if self._interrupted:
            raise KeyboardInterrupt

    def on_validation_batch_end(self, *args: object) -> None:
        """End the run after an interrupt, as in training."""
        self.on_train_batch_end()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Nothing is left to save: from now on a signal, also a pending one, ends the process."""
        self._training = False
        self.on_train_batch_end()
        if self._received:
            self._code = self._received
            self.leave()

    def due(self, trainer: Trainer) -> bool:
        """Return whether any rank received a signal; all ranks call this at the same batch."""
        self._code = self._received
        if trainer.world_size > 1:
            code = torch.tensor(self._code, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(code, torch.distributed.ReduceOp.MAX)
            self._code = int(code)
        return self._code > 0

    def leave(self) -> None:
        """End the process with the exit code of the signal.

        Raises:
            SystemExit: Always.
        """
        raise SystemExit(self._code)

    def _interrupt(self, number: int, frame: FrameType | None) -> Any:
        # within torch.save it would become a RuntimeError, and within a finalizer it would be lost
        if not self._training or self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _receive(self, number: int, frame: FrameType | None) -> Any:
        self._received = EXIT_CODES[signal.Signals(number)]
        if not self._training:
            self._code = self._received
            self.leave()
