"""The device on which the tests of this folder run, and the JSON lines that tools/gpu.sh prints.

The device is SEQMODEL_GPU_TEST_DEVICE; unset, a CUDA card if there is one, else the CPU, so that
these tests run on any machine and work the first time on a card.
"""

import json
import os

import pytest
import torch

LINES = "SEQMODEL_GPU_TEST_LINES"  # a file descriptor


def device_name():
    return os.environ.get("SEQMODEL_GPU_TEST_DEVICE") or (
        "cuda" if torch.cuda.is_available() else "cpu"
    )


def card():
    return torch.cuda.get_device_name() if device_name() == "cuda" else device_name()


def pytest_configure(config):
    # tools/gpu.sh runs without the settings of pyproject.toml, which need more packages
    config.addinivalue_line("markers", "gpu: runs on a CUDA card where there is one")
    config.addinivalue_line("markers", "slow: takes more than some seconds")


def pytest_collection_modifyitems(items):
    ignored = (
        "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning",
        "ignore:--precision=16-mixed is not possible",  # bf16 is taken in its place
        # where float16 overflowed in the first step, and the scaler passed over it
        "ignore:Detected call of .lr_scheduler.step",
        "ignore:.isinstance.treespec, LeafSpec:FutureWarning",
    )
    for item in items:
        if "/tests/gpu/" in str(item.path):
            item.add_marker(pytest.mark.gpu)
            for warning in ignored:
                item.add_marker(pytest.mark.filterwarnings(warning))


def pytest_runtest_logreport(report):
    """Writes a JSON line for a test that ended."""
    if LINES not in os.environ or (report.when != "call" and report.passed):
        return
    line = {"case": report.nodeid.split("::")[-1], "result": report.outcome, "card": card()}
    line |= {"seconds": round(report.duration, 2), **dict(report.user_properties)}
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        line["error"] = (crash.message if crash else str(report.longrepr)).split("\n")[0][:300]
    os.write(int(os.environ[LINES]), (json.dumps(line) + "\n").encode())


@pytest.fixture
def device():
    """The torch.device under test."""
    return torch.device(device_name())


@pytest.fixture
def accelerator(device):
    """Lightning's name of it, and that of --accelerator."""
    return "gpu" if device.type == "cuda" else device.type


@pytest.fixture(autouse=True)
def exact_float32():
    """Products in float32 are not rounded to TF32, as convolutions are by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
