"""A signal ends a training whenever it comes; that it loses nothing is in test_resume.py."""

import signal
from types import SimpleNamespace

import pytest
import torch

from seqmodel.training.stopping import StopOnSignal

TRAINER = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device="cpu"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 143)])
def test_a_signal_that_comes_while_the_ranks_agree_is_not_lost(monkeypatch, number, code):
    stopper = StopOnSignal()
    stopper._training = True
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_: stopper._receive(number, None))
    assert not stopper.due(TRAINER)  # the others were asked before it came
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_: None)
    assert stopper.due(TRAINER)
    with pytest.raises(SystemExit) as e:
        stopper.leave()
    assert e.value.code == code


def test_a_rank_that_was_not_signalled_leaves_with_the_code_of_the_one_that_was(monkeypatch):
    stopper = StopOnSignal()
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda code, _: code.fill_(75))
    assert stopper.due(TRAINER)
    with pytest.raises(SystemExit) as e:
        stopper.leave()
    assert e.value.code == 75


def test_a_signal_that_nobody_asked_for_is_not_forgotten_at_the_end_of_training():
    """Early stopping within an epoch: training ends without a batch that would have asked."""
    stopper = StopOnSignal()
    stopper._training = True
    stopper._receive(signal.SIGUSR1, None)
    with pytest.raises(SystemExit) as e:
        stopper.on_train_end(TRAINER, None)
    assert e.value.code == 75
    StopOnSignal().on_train_end(TRAINER, None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_in_a_finalizer_ends_the_run_after_the_batch():
    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    before = signal.default_int_handler
    signal.signal(signal.SIGINT, before)  # a shell ignores it in the background
    with StopOnSignal() as stopper:
        stopper.on_train_start(TRAINER, None)
        stopper.on_train_batch_end()
        Finalized()
        for hook in (stopper.on_train_batch_end, stopper.on_validation_batch_end):
            with pytest.raises(KeyboardInterrupt):
                hook()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # the second one does not wait
        with pytest.raises(KeyboardInterrupt):
            stopper.on_train_end(TRAINER, None)
    assert signal.getsignal(signal.SIGINT) is before
