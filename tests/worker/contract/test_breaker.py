"""The circuit breaker: when it opens, who probes, what closes it, and that it never stands in the way without Redis."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from millrace.worker.contract import breaker as breaker_module
from millrace.worker.contract.breaker import MAX_OBSERVED, Breaker, BreakerState, Permission
from millrace.worker.contract.keys import breaker_keys
from millrace.worker.contract.lifetimes import STATE_MS
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess, free_port
from tests.worker.contract.script_changes import changed_scripts

MODEL = "bedrock:anthropic.claude-sonnet"
TIME_FROM_KEY = ("local t = redis.call('TIME')", "local t = { redis.call('GET', 'clock'), 0 }")
Make = Callable[..., Breaker]


@pytest.fixture
def make(valkey: ValkeyProcess, redis: Redis) -> Iterator[Make]:
    """Empty Redis, and return a function that returns the breaker of another process."""
    made: list[Breaker] = []

    def make(url: str = valkey.url, start_seconds: float = 15, **settings: object) -> Breaker:
        values = {f"breaker_{name}": value for name, value in ({"failures": 3} | settings).items()}
        made.append(Breaker(Settings.of(redis_url=url, start_seconds=start_seconds, **values)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def advance(redis: Redis) -> Iterator[Callable[[float], Any]]:
    """Return a function that moves Redis's clock by seconds."""
    redis.set("clock", 1_800_000_000)
    with changed_scripts(redis, [TIME_FROM_KEY]):
        yield lambda seconds: redis.incrbyfloat("clock", seconds)


def fail(breaker: Breaker, times: int = 3, candidate: str = MODEL) -> None:
    for permission in [breaker.ask(candidate) for _ in range(times)]:
        breaker.failed(permission)


def is_open(breaker: Breaker) -> bool:
    return breaker.read_states()[0].is_open


def test_breaker_opens_for_all_processes_at_the_threshold_and_states_the_wait(
    make: Make, advance: Callable[[float], Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make(), make()
    fail(first, 2)
    assert second.ask(MODEL).is_allowed
    fail(second, 1)
    advance(4)
    denied = first.ask(MODEL)
    assert (denied.is_allowed, denied.is_probe, denied.wait_seconds) == (False, False, 6.0)
    assert first.ask("openai:gpt").is_allowed, "another candidate has a breaker of its own"
    assert caplog.text.count("breaker_opened") == 1


def test_failures_that_are_further_apart_than_the_window_do_not_open(
    make: Make, advance: Callable[[float], Any], redis: Redis
) -> None:
    breaker = make()
    for _ in range(10):
        fail(breaker, 1)
        advance(15)
    assert breaker.ask(MODEL).is_allowed
    assert redis.zcard(breaker_keys(MODEL)[1]) == 2


def test_one_of_many_calls_of_several_processes_probes_after_the_open_time(
    make: Make, advance: Callable[[float], Any]
) -> None:
    processes = [make(), make()]
    fail(processes[0])
    advance(10)
    tasks = [gevent.spawn(each.ask, MODEL) for each in processes for _ in range(10)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    asked: list[Permission] = [task.get() for task in tasks]
    assert [each.is_probe for each in asked if each.is_allowed] == [True]
    assert {each.wait_seconds for each in asked if not each.is_allowed} == {30.0}


def test_success_of_the_probe_closes_and_the_next_opening_is_short_again(
    make: Make, advance: Callable[[float], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breaker, other = make(), make()
    fail(breaker)
    advance(10)
    breaker.failed(breaker.ask(MODEL))
    advance(20)
    breaker.succeeded(breaker.ask(MODEL))
    assert "breaker_closed" in caplog.text
    fail(other, 2)
    assert other.ask(MODEL).is_allowed, "failures from before the closing do not count"
    fail(other, 1)
    assert breaker.ask(MODEL).wait_seconds == 10


def test_open_time_doubles_with_each_failed_probe_up_to_its_maximum(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker = make(open_seconds=10, max_open_seconds=35)
    fail(breaker)
    for seconds in (10, 20, 35, 35):
        assert breaker.ask(MODEL).wait_seconds == seconds
        advance(seconds)
        breaker.failed(breaker.ask(MODEL))


def test_cancelled_probe_gives_way_at_once_and_a_dead_one_after_its_lease(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker, other = make(probe_seconds=30), make(probe_seconds=30)
    fail(breaker)
    advance(10)
    breaker.abandoned(breaker.ask(MODEL))
    dead = other.ask(MODEL)
    assert dead.is_probe
    advance(29)
    assert breaker.ask(MODEL).wait_seconds == 1
    advance(1)
    successor = breaker.ask(MODEL)
    assert successor.is_probe
    other.abandoned(dead)
    other.failed(dead)
    assert breaker.ask(MODEL).wait_seconds == 30, "only the successor's failure counts now"
    other.succeeded(dead)
    assert not is_open(breaker), "a probe that was only slow shows that the model works"


def test_lease_of_a_probe_is_at_least_the_time_in_which_a_response_must_begin(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker = make(start_seconds=50, probe_seconds=30)
    fail(breaker)
    advance(10)
    assert breaker.ask(MODEL).is_probe
    assert breaker.ask(MODEL).wait_seconds == 50


def test_news_of_calls_from_before_an_opening_or_closing_is_ignored(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker = make()
    early = [breaker.ask(MODEL) for _ in range(10)]
    for permission in early[:5]:
        breaker.failed(permission)
    assert breaker.ask(MODEL).wait_seconds == 10, "failures after the opening do not prolong it"
    advance(10)
    probe = breaker.ask(MODEL)
    for permission in early[5:8]:
        breaker.failed(permission)
    assert breaker.ask(MODEL).wait_seconds == 30, "a failure of another call does not end the probe"
    breaker.succeeded(probe)
    for permission in (*early, probe):
        breaker.failed(permission)
    assert breaker.ask(MODEL).is_allowed
    fail(breaker)
    breaker.succeeded(probe)
    assert not breaker.ask(MODEL).is_allowed, "a success from an earlier opening says nothing about this one"


def test_call_made_although_it_was_denied_closes_by_its_success_and_never_prolongs(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker = make()
    fail(breaker)
    breaker.failed(breaker.ask(MODEL))
    breaker.abandoned(breaker.ask(MODEL))
    assert breaker.ask(MODEL).wait_seconds == 10
    advance(1)
    breaker.succeeded(breaker.ask(MODEL))
    assert breaker.ask(MODEL).is_allowed
    assert not is_open(breaker)


def test_only_failures_create_keys_all_keys_expire_and_a_success_costs_no_call(make: Make, redis: Redis) -> None:
    breaker = make()
    breaker.succeeded(breaker.ask(MODEL))
    before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    for name in ("bedrock:a", "bedrock:b", "openai:\ud83d {x}", "café:" + "n" * 500):
        permission = breaker.ask(name)
        breaker.succeeded(permission)
        breaker.abandoned(permission)
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 4
    assert redis.keys("*") == []
    breaker.failed(breaker.ask(MODEL))
    assert 29_000 < redis.pttl(breaker_keys(MODEL)[1]) <= 30_000
    fail(breaker, 2)
    assert redis.keys("*") == [breaker_keys(MODEL)[0].encode()]
    assert STATE_MS - 60_000 < redis.pttl(breaker_keys(MODEL)[0]) <= STATE_MS


def test_breaker_opens_and_lets_a_probe_through_by_redis_own_clock(make: Make) -> None:
    breaker = make(open_seconds=0.2)
    fail(breaker)
    begun = time.monotonic()
    with gevent.Timeout(30):
        while not (permission := breaker.ask(MODEL)).is_probe:
            assert 0 < permission.wait_seconds <= 0.2
            gevent.sleep(permission.wait_seconds)
    assert time.monotonic() - begun > 0.15


def test_zero_failures_turn_it_off_without_a_call_to_redis(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    breaker = make(f"redis://127.0.0.1:{free_port()}/0", failures=0)
    fail(breaker, 20)
    assert breaker.ask(MODEL) == Permission(MODEL)
    assert breaker.read_states() == []
    assert caplog.text == ""


def test_without_redis_every_call_is_allowed_within_a_second_and_one_line_is_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        breaker, begun = make(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"), time.monotonic()
        for _ in range(20):
            permission = breaker.ask(MODEL)
            assert permission == Permission(MODEL)
            breaker.failed(permission)
        assert time.monotonic() - begun < 2
    assert caplog.text.count("breaker_without_redis") == 1


def test_breaker_works_again_once_redis_is_back_and_ignores_a_key_of_another_kind(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, redis: Redis
) -> None:
    monkeypatch.setattr(breaker_module, "PAUSE_SECONDS", 0.0)
    with ValkeyProcess(tmp_path) as server:
        breaker = make(server.url)
        before = breaker.ask(MODEL)
        server.stop()
        breaker.failed(before)
        assert breaker.ask(MODEL).token == ""
        server.start()
        fail(breaker)
        assert not breaker.ask(MODEL).is_allowed
    assert caplog.text.count("breaker_without_redis") == 1
    redis.set(breaker_keys(MODEL)[0], "no hash")
    stranger = make()
    fail(stranger)
    assert stranger.ask(MODEL).is_allowed
    assert not is_open(stranger)


def test_states_name_each_candidate_that_was_asked_about_up_to_a_bound(
    make: Make, advance: Callable[[float], Any]
) -> None:
    breaker, other = make(), make()
    fail(breaker)
    other.ask(MODEL)
    other.ask("openai:gpt")
    assert breaker.read_states() == [BreakerState(MODEL, is_open=True, openings=1)]
    assert other.read_states() == [BreakerState(MODEL, True, 0), BreakerState("openai:gpt", False, 0)]
    advance(10)
    probe = other.ask(MODEL)
    assert is_open(breaker), "a breaker that waits for its probe is not closed yet"
    other.succeeded(probe)
    assert not is_open(breaker)
    for number in range(MAX_OBSERVED):
        fail(breaker, candidate=f"bedrock:{number}")
    assert len(breaker.read_states()) == MAX_OBSERVED
    assert not breaker.ask(f"bedrock:{MAX_OBSERVED - 1}").is_allowed, "the last one has a breaker all the same"
