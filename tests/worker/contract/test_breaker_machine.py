"""The circuit breaker under combinations of failures; its machine fails when one rule is removed from the script."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from redis.exceptions import ResponseError

from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.worker.contract.breaker_machine import RULES, SAME_RUNS, run, run_beginnings

FRESH_RUNS = settings(SAME_RUNS, max_examples=40, derandomize=False, print_blob=True)

REMOVED = {
    "one probe at a time, after the open time": ("wait > 0 and wait <=", "false and wait <="),
    "a probe has a lease": ("number(now + lease_ms)", "number(now)"),
    "a repeated question has the same answer": ("if prober ~= token and wait > 0", "if wait > 0"),
    "a clock set back does not suspend calls for long": ("and wait <= math.max(longest_ms, lease_ms)", ""),
    "news of an earlier period is late": ("if asked_in ~= period then return 'late' end", ""),
    "only the prober's failure opens again": ("elseif prober ~= token then", "elseif false then"),
    "an abandoned probe frees the place": ("save('prober', '', 'due', number(due))", ""),
    "an abandoned probe is no failure": ("elseif verb == 'abandoned' then", "elseif false then"),
    "a success closes": ("begin_period(0, 0)", ""),
    "failures leave the window": ("'-inf', number(now - window_ms)", "'-inf', '-inf'"),
    "failures of a later clock do not count": ("'(' .. number(now), '+inf'", "'+inf', '+inf'"),
    "a failure counts once, at its first report": ("FAILURES, 'NX', number(now)", "FAILURES, number(now)"),
    "as many failures as the setting open": (">= tonumber(ARGV[4])", "> tonumber(ARGV[4])"),
    "a period begins without failures": ("redis.call('DEL', FAILURES)", ""),
    "a period begins without a prober": ("'due', number(due), 'prober', '')", "'due', number(due))"),
    "the open time is doubled": ("open_ms * 2 ^ openings", "open_ms"),
    "the open time is bounded": ("math.min(open_ms * 2 ^ openings, longest_ms)", "open_ms * 2 ^ openings"),
    "an opening and a closing begin a period": (
        "openings, due = token, new_openings",
        "openings, due = period, new_openings",
    ),
}


@pytest.fixture(scope="module")
def breakers(valkey: ValkeyProcess) -> Iterator[list[Breaker]]:
    made = [Breaker(Settings.of(redis_url=valkey.url, **RULES)) for _ in range(3)]
    yield made
    for each in made:
        each.close()


def test_breaker_obeys_its_model_under_every_failure(redis: Redis, breakers: list[Breaker]) -> None:
    run(redis, breakers)


def test_breaker_obeys_its_model_in_fresh_random_runs(redis: Redis, breakers: list[Breaker]) -> None:
    run(redis, breakers, runs=FRESH_RUNS)


def test_breaker_obeys_its_model_in_each_beginning(redis: Redis, breakers: list[Breaker]) -> None:
    run_beginnings(redis, breakers)


@pytest.mark.parametrize("rule", REMOVED)
def test_machine_fails_when_a_rule_is_removed(redis: Redis, breakers: list[Breaker], rule: str) -> None:
    with pytest.raises((AssertionError, ResponseError)):
        run_beginnings(redis, breakers, REMOVED[rule])
