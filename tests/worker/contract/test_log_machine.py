"""The log, leases and cancel under everything that can go wrong at once."""

from hypothesis import settings

from millrace.worker.contract.connection import Redis
from tests.worker.contract.log_machine import SAME_RUNS, run

FRESH_RUNS = settings(SAME_RUNS, max_examples=30, stateful_step_count=50, derandomize=False, print_blob=True)


def test_log_keeps_its_promises_under_every_failure(redis: Redis) -> None:
    run(redis)


def test_log_keeps_its_promises_in_fresh_random_runs(redis: Redis) -> None:
    run(redis, runs=FRESH_RUNS)
