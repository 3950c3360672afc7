"""The log, leases and cancellation under combinations of failures."""

from hypothesis import settings

from millrace.worker.contract.redis.connection import Redis
from tests.worker.contract.log_machine import SAME_RUNS, run

FRESH_RUNS = settings(SAME_RUNS, max_examples=30, stateful_step_count=50, derandomize=False, print_blob=True)


def test_log_invariants_hold_under_every_failure(redis: Redis) -> None:
    run(redis)


def test_log_invariants_hold_in_fresh_random_runs(redis: Redis) -> None:
    run(redis, runs=FRESH_RUNS)
