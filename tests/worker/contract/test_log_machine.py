"""The log, leases and cancel under everything that can go wrong at once."""

from hypothesis import settings

from millrace.worker.contract.connection import Redis
from tests.worker.contract.log_machine import SAME_RUNS, run

FRESH_RUNS = settings(SAME_RUNS, max_examples=30, stateful_step_count=50, derandomize=False, print_blob=True)


def test_readers_writers_and_endings_keep_every_promise_whatever_fails(redis: Redis) -> None:
    run(redis)


def test_they_keep_them_in_runs_that_nobody_has_seen_before(redis: Redis) -> None:
    run(redis, runs=FRESH_RUNS)
