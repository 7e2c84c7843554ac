"""Tests of tasks: Lightning's advice, and its use of what torch will rename, are no errors here."""

import pytest


def pytest_collection_modifyitems(items):
    ignored = (
        "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning",
        "ignore:.isinstance.treespec, LeafSpec:FutureWarning",
    )
    for item in items:
        if "/tests/task/" in str(item.path):
            for warning in ignored:
                item.add_marker(pytest.mark.filterwarnings(warning))
