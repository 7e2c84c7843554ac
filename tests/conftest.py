"""Settings of all tests."""

import importlib.util

if importlib.util.find_spec("hypothesis"):  # tests/gpu runs without it
    from hypothesis import HealthCheck, settings

    # a busy machine makes no test fail
    settings.register_profile(
        "any_load", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any_load")
