"""For all tests."""

import gc

from hypothesis import HealthCheck, settings

# The time of an example depends on the machine, and its choice on the code alone, but for tests that say otherwise. The
# fixtures of one test serve all its examples.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")
gc.disable()  # while modules are imported and tests collected, there is little garbage: a fifth of the time


def pytest_collection_finish() -> None:
    """Exclude all that has been imported from the collections of garbage to come, which take a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()
