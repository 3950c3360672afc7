import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.pool import Pool
from redis.connection import AbstractConnection

from millrace.worker.contract.feed import FEED_START, read_feeds
from millrace.worker.contract.keys import QUEUE, keys_of
from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.streams import Streams
from tests.valkey import ValkeyProcess
from tests.webapp.harness import DEAD_PORT, WHOLE, WebHarness, check_problem, json_of, stopping

Build = Callable[..., WebHarness]
API = "/api/generations"
DEAD = f"redis://127.0.0.1:{DEAD_PORT}/0"


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream": False}])
def test_unavailable_queue_is_503_and_nothing_half_created_is_left(build: Build, fields: dict[str, bool]) -> None:
    site = build(broker_url=DEAD)
    check_problem(site.post({"message": "a", **fields}, Idempotency_Key="k"), 503, "queue_away")
    assert site.made() == []
    assert site.post({"message": "another"}, Idempotency_Key="k").status_code == 503  # not 409: the key is free again


def test_queue_that_refuses_beside_an_accepted_generation_is_503_and_nothing_half_created_is_left(
    site: WebHarness,
) -> None:
    """The logs and the queue share a Redis, so one round trip writes the generation and then fails to enqueue it."""
    site.owner()
    site.redis.set(QUEUE, "no list")
    check_problem(site.post({"message": "a"}), 503, "queue_away")
    assert site.made() == []
    site.redis.delete(QUEUE)
    assert site.post({"message": "a"}).status_code == 202


def test_unavailable_queue_leaves_an_existing_conversation_unchanged(build: Build) -> None:
    site, cut_off = build(), build(broker_url=DEAD)
    first = json_of(site.post({"message": "a"}))
    site.user.post(first["cancel_url"])
    before = site.made()
    cut_off.user = site.user  # the same user, whose next request reaches another process
    cut_off.user.application = cut_off.app
    answer = cut_off.post({"message": "b", "conversation_id": first["conversation_id"]})
    check_problem(answer, 503, "queue_away")
    assert site.made() == before


def test_generation_claimed_although_enqueue_failed_is_202(build: Build) -> None:
    site = build(broker_url=DEAD)
    enqueue = site.services.task_queue.enqueue

    def claim_and_fail(generation: str, lane: str = "") -> None:
        claim(Streams(site.redis), generation, site.services.settings)
        enqueue(generation, lane)

    site.services.task_queue.enqueue = claim_and_fail
    answer = site.post({"message": "a"}, Idempotency_Key="k")
    assert answer.status_code == 202
    site.services.task_queue.enqueue = enqueue
    assert json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"] == json_of(answer)["id"]


def test_a_post_waits_for_redis_three_times(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """For slots and conversation, for generation and queue, and for the owner's feed: each wait delays the answer."""
    site, sent = build(), list[Any]()
    assert site.post({"message": "the scripts are loaded"}).status_code == 202
    send = AbstractConnection.send_packed_command

    def record(connection: Any, command: Any, **named: Any) -> None:
        sent.append(command)
        send(connection, command, **named)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", record)
    assert site.post({"message": "a"}).status_code == 202
    assert len(sent) == 3, sent


def test_unavailable_redis_is_503(build: Build) -> None:
    site = build(redis_url=DEAD)
    check_problem(site.post({"message": "a"}), 503, "redis_away")
    check_problem(site.post({"message": "a"}, Idempotency_Key="k"), 503, "redis_away")


def test_redis_out_of_memory_is_503_and_creates_nothing(site: WebHarness) -> None:
    site.owner()
    site.redis.config_set("maxmemory", 1)
    try:
        check_problem(site.post({"message": "a"}), 503, "redis_away")
        check_problem(site.post({"message": "a"}, Idempotency_Key="k"), 503, "redis_away")
    finally:
        site.redis.config_set("maxmemory", 0)
    assert site.made() == []


def test_failed_create_is_rolled_back_when_redis_recovers(tmp_path: Path, database_url: str) -> None:
    with ValkeyProcess(tmp_path) as own, connect(own.url) as redis:
        site = WebHarness(own.url, redis, broker_url=DEAD, database_url=database_url, database_seconds=20.0)
        with stopping(site.app):
            enqueue = site.services.task_queue.enqueue
            site.services.housekeeping.stop()  # its own sweep would take the generation away before it is looked at

            def stop_redis_and_enqueue(generation: str, lane: str = "") -> None:
                own.stop()
                enqueue(generation, lane)

            site.services.task_queue.enqueue = stop_redis_and_enqueue
            check_problem(site.post({"message": "a"}), 503, "redis_away")
            own.start()
            assert len(site.generations()) == 1
            site.services.housekeeping.sweep()
            assert site.made() == []


def test_same_idempotency_key_is_the_same_generation_in_any_response_form(build: Build) -> None:
    site = build(wait_seconds=1)
    first = json_of(site.post({"message": "a", "temperature": 0.5}, Idempotency_Key="k"))
    again = site.post('{"temperature":  0.5, "message": "a"}', Idempotency_Key="k")
    assert (again.status_code, json_of(again)) == (202, first)
    waited = site.post({"message": "a", "temperature": 0.5, "stream": False}, Idempotency_Key="k")
    assert (waited.status_code, json_of(waited)) == (202, first)
    site.write(site.hold(first["id"]), *WHOLE)
    streamed = site.post({"message": "a", "temperature": 0.5, "stream": True}, Idempotency_Key="k")
    assert streamed.headers["Millrace-Generation-Id"] == first["id"]
    assert streamed.get_data(as_text=True).count('"type":"done"') == 1
    whole = site.post({"message": "a", "temperature": 0.5, "stream": False}, Idempotency_Key="k")
    assert (whole.status_code, json_of(whole)["message"]) == (200, "Hello.")
    assert site.generations() == [first["id"]]


def test_repeated_request_enqueues_only_a_queued_generation_again(site: WebHarness) -> None:
    first = json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"]
    site.redis.delete("millrace")  # the web process died before it enqueued the task, or the queue lost it
    site.post({"message": "a"}, Idempotency_Key="k")
    assert site.queued_tasks() == 1
    site.hold(first)
    site.post({"message": "a"}, Idempotency_Key="k")
    assert site.queued_tasks() == 1


def test_create_interrupted_before_the_state_was_written_is_completed_by_a_retry(site: WebHarness) -> None:
    first = json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"]
    keys = keys_of(first)
    site.redis.delete(keys.state, keys.log, "millrace")
    site.redis.zrem(keys.leases, first)
    assert json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"] == first
    assert (site.queued_tasks(), site.generations()) == (1, [first])


def test_same_idempotency_key_with_another_body_is_409(site: WebHarness) -> None:
    first = json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"]
    problem = check_problem(site.post({"message": "b"}, Idempotency_Key="k"), 409, "idempotency_conflict")
    assert problem["generation_id"] == first
    check_problem(site.post({"message": "a", "max_tokens": 5}, Idempotency_Key="k"), 409, "idempotency_conflict")
    assert site.generations() == [first]


def test_same_idempotency_key_of_two_owners_is_two_generations(site: WebHarness) -> None:
    mine = json_of(site.post({"message": "a"}, Idempotency_Key="k"))["id"]
    theirs = site.stranger().post(API, json={"message": "b"}, headers={"Idempotency-Key": "k"})
    assert theirs.status_code == 202
    assert json_of(theirs)["id"] != mine


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\xe9", "\x7f"], ids=range(5))
def test_malformed_idempotency_key_is_400(site: WebHarness, key: str) -> None:
    check_problem(site.post({"message": "a"}, Idempotency_Key=key), 400, "bad_idempotency_key")
    assert site.made() == []


@pytest.mark.parametrize("key", ["x", "x" * 255, 'a b~!"#'])
def test_any_printable_idempotency_key_is_accepted(site: WebHarness, key: str) -> None:
    assert site.post({"message": "a"}, Idempotency_Key=key).status_code == 202


def test_twenty_concurrent_requests_with_one_key_are_one_generation(site: WebHarness) -> None:
    site.owner()
    cookie = site.user.get_cookie(site.cookie_name)
    assert cookie is not None

    def ask(_: int) -> tuple[int, str]:
        client = site.stranger()
        client.set_cookie(site.cookie_name, cookie.value)
        answer = client.post(API, json={"message": "a"}, headers={"Idempotency-Key": "k"})
        return answer.status_code, json_of(answer)["id"]

    with gevent.Timeout(20):
        answers = Pool(20).map(ask, range(20))
    assert len(set(answers)) == 1
    assert answers[0][0] == 202
    assert len(site.generations()) == 1


def content(site: WebHarness) -> dict[Any, Any]:
    return {key: site.redis.dump(key) for key in site.redis.scan_iter()}


def test_rejected_request_leaves_redis_unchanged(site: WebHarness) -> None:
    site.ask()
    before = content(site)
    for body in ({}, {"message": ""}, {"message": "a", "conversation_id": "0" * 32}, {"message": "a", "system": "b"}):
        assert site.post(body, Idempotency_Key="refused").status_code >= 400
    assert site.post({"message": "a"}, Idempotency_Key="").status_code == 400
    assert content(site) == before


def test_enqueued_generation_is_published_to_the_feed_of_its_owner(site: WebHarness) -> None:
    generation = site.ask()
    owner = site.hold(generation).owner
    (entries,) = read_feeds(site.redis, [(owner, FEED_START)], 10)
    (event,) = [json.loads(entry.data) for entry in entries]
    assert (event["type"], event["generation"]) == ("generation_started", generation)
