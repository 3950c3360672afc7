"""A session on a WebSocket: every message with its reply, in the context of the handshake's user."""

import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from millrace.webapp.guard.auth import Authorization
from millrace.webapp.guard.client import Client
from millrace.worker.contract.events import Chunk, Done, StatusEvent
from millrace.worker.contract.ids import new_id
from tests.client import wait_for
from tests.webapp.facades.websocket.socket_user import SocketUser
from tests.webapp.harness import COMPLETE, WHOLE, Json, WebHarness, json_of

Build = Callable[..., WebHarness]


def stream_of(site: WebHarness, generation: str) -> list[tuple[str, Json]]:
    """Return the events of an ended generation as its own stream has them."""
    lines = site.user.get(f"/api/generations/{generation}/events").text.split("\n\n")
    frames = [line.removeprefix("data: ").split("\nid: ") for line in lines if line.startswith("data: ")]
    return [(cursor, json.loads(data)) for data, cursor in frames]


def test_first_message_says_what_the_server_allows(site: WebHarness) -> None:
    with SocketUser(site) as user:
        assert user.wire.receive() == {
            "type": "ready",
            "heartbeat_seconds": 15.0,
            "max_follows": 50,
            "max_message_bytes": 1 << 20,
        }


def test_sent_question_is_accepted_and_its_events_are_those_of_the_stream(site: WebHarness) -> None:
    with SocketUser(site) as user:
        worker = site.answer_next(*WHOLE)
        accepted = user.ask("send", message="hello", request="r 1")
        generation = accepted["generation"]
        assert (accepted["type"], accepted["request"], accepted["status"]) == ("accepted", "r 1", "queued")
        events = user.events(generation)
        worker.get(timeout=30)
    assert events == stream_of(site, generation)
    assert events[0][1]["conversation_id"] == accepted["conversation_id"]
    assert events[0][1]["message_id"] == accepted["message_id"]


def test_two_generations_are_followed_at_once_and_either_can_be_left(site: WebHarness) -> None:
    one, two = site.ask("one"), site.ask("two")
    first, second = site.hold(one), site.hold(two)
    with SocketUser(site) as user:
        assert user.ask("follow", generation=one) == {"type": "following", "generation": one}
        assert user.ask("follow", generation=two, request="x")["request"] == "x"
        site.write(first, Chunk("a"))
        assert user.events(one, "chunk")[-1][1]["content"] == "a"
        assert user.ask("unfollow", generation=one, request="u") == {
            "type": "ended",
            "generation": one,
            "why": "unfollowed",
            "request": "u",
        }
        site.write(first, Chunk("b"), after=2)
        site.write(second, Chunk("c"), COMPLETE, Done("completed"))
        assert user.events(two)[-1][1]["type"] == "done"
        user.wire.say({"type": "ping"})
        assert user.wire.receive() == {"type": "pong"}, "an event of a generation that is not followed"
        assert site.services.hub.reader_count == 1
    assert site.services.hub.reader_count == 0


@pytest.mark.parametrize("after", range(6))
def test_follow_resumes_after_any_cursor(site: WebHarness, after: int) -> None:
    with SocketUser(site) as user:
        site.answer_next(*WHOLE)
        generation = user.ask("send", message="hello")["generation"]
        whole = user.events(generation)
    with SocketUser(site) as user:
        user.ask("follow", generation=generation, after=whole[after][0] if after < len(whole) else None)
        if after < len(whole) - 1:
            assert user.events(generation) == whole[after + 1 :]


def test_follow_of_an_ended_generation_from_its_end_is_ended(site: WebHarness) -> None:
    with SocketUser(site) as user:
        site.answer_next(*WHOLE)
        generation = user.ask("send", message="hello")["generation"]
        last = user.events(generation)[-1][0]
        ended = user.ask("follow", generation=generation, after=last)
        assert ended == {"type": "ended", "generation": generation, "why": "done", "status": "completed"}


def test_second_follow_starts_again_after_its_cursor(site: WebHarness) -> None:
    generation = site.ask()
    holding = site.hold(generation)
    site.write(holding, Chunk("a"))
    with SocketUser(site) as user:
        user.ask("follow", generation=generation)
        assert len(user.events(generation, "chunk")) == 2
        user.ask("follow", generation=generation)
        assert user.events(generation, "chunk")[0][1]["status"] == "queued"
        assert site.services.hub.reader_count == 2


def test_repeated_key_gets_the_same_generation(site: WebHarness) -> None:
    with SocketUser(site) as user:
        first = user.ask("send", message="a", idempotency_key="k")
        assert user.ask("send", message="a", idempotency_key="k")["generation"] == first["generation"]
        conflict = user.ask("send", message="b", idempotency_key="k")
        assert (conflict["status"], conflict["code"]) == (409, "idempotency_conflict")
        assert conflict["generation"] == first["generation"]
    assert site.post({"message": "a"}, Idempotency_Key="k").get_json()["id"] == first["generation"]


def test_cancel_ends_the_generation(site: WebHarness) -> None:
    with SocketUser(site) as user:
        generation = user.ask("send", message="a")["generation"]
        assert user.ask("cancel", generation=generation, request="c") == {
            "type": "cancel_accepted",
            "generation": generation,
            "status": "cancelled",
            "request": "c",
        }
        assert user.events(generation)[-2][1]["type"] == "cancelled"


@pytest.mark.parametrize("kind", ["follow", "cancel"])
def test_generation_of_another_owner_is_not_found_as_an_absent_one(site: WebHarness, kind: str) -> None:
    generation = site.ask()
    with SocketUser(site, owner="somebody-else") as user:
        rejections = [user.ask(kind, generation=each) for each in (generation, new_id(), "no id")]
    assert {(each["type"], each["status"], each["code"]) for each in rejections} == {("rejected", 404, "not_found")}
    assert site.user.get(f"/api/generations/{generation}").get_json()["status"] == "queued"


@pytest.mark.parametrize(
    ("message", "status", "code", "field"),
    [
        ("{", 400, "malformed", None),
        ("[]", 400, "malformed", None),
        ('{"type":"ping","type":"send"}', 400, "malformed", None),
        ({}, 422, "unknown_type", "type"),
        ({"type": "stop"}, 422, "unknown_type", "type"),
        ({"type": ["send"]}, 422, "unknown_type", "type"),
        ({"type": "ping", "request": 7}, 422, "invalid_field", "request"),
        ({"type": "ping", "request": "x" * 129}, 422, "invalid_field", "request"),
        ({"type": "ping", "more": 1}, 422, "invalid_field", "more"),
        ({"type": "send"}, 422, "invalid_field", "message"),
        ({"type": "send", "message": "a", "stream": True}, 422, "invalid_field", "stream"),
        ({"type": "send", "message": "a", "lone \ud800": 1}, 422, "invalid_field", "lone \ud800"),
        ({"type": "send", "message": "a", "temperature": 3}, 422, "invalid_field", "temperature"),
        ({"type": "send", "message": "a", "idempotency_key": 3}, 422, "invalid_field", "idempotency_key"),
        ({"type": "send", "message": "a", "idempotency_key": "é"}, 400, "bad_idempotency_key", None),
        ({"type": "send", "message": "a", "system": "b"}, 403, "system_not_allowed", "system"),
        ({"type": "follow"}, 422, "invalid_field", "generation"),
        ({"type": "follow", "generation": 1}, 422, "invalid_field", "generation"),
        ({"type": "follow", "generation": "0" * 32, "after": "x"}, 400, "bad_cursor", None),
        ({"type": "cancel", "generation": "0" * 32, "after": "1-1"}, 422, "invalid_field", "after"),
    ],
    ids=str,
)
def test_bad_message_is_rejected_and_the_socket_stays(
    site: WebHarness, message: Json | str, status: int, code: str, field: str | None
) -> None:
    with SocketUser(site) as user:
        user.wire.say(message)
        rejected = user.reply()
        assert (rejected["type"], rejected["status"], rejected["code"]) == ("rejected", status, code)
        assert rejected.get("field") == field
        assert rejected["detail"]
        assert user.ask("ping", request="p") == {"type": "pong", "request": "p"}
    assert site.made() == []


def test_each_message_counts_for_the_limits_of_its_kind(build: Build) -> None:
    site = build(rate_limit="2/hour", follow_rate_limit="1/hour", write_rate_limit="3/hour", read_rate_limit="2/hour")
    with SocketUser(site) as user:
        ids = [user.ask("send", message="a")["generation"] for _ in range(2)]
        over = user.ask("send", message="a", request="r")
        assert (over["code"], over["status"], over["request"]) == ("rate_limited", 429, "r")
        assert over["retry_after"] > 0
        assert user.ask("follow", generation=ids[0])["type"] == "following"
        assert user.ask("follow", generation=ids[0])["code"] == "rate_limited"
        assert user.ask("cancel", generation=ids[0])["type"] == "cancel_accepted"
        user.wire.say("{")
        user.wire.say("{")
        assert [user.reply()["code"] for _ in range(2)] == ["malformed"] * 2
        assert user.ask("cancel", generation=ids[1])["code"] == "rate_limited"
        user.wire.say("{")
        assert user.reply()["code"] == "rate_limited"
        assert user.ask("ping")["type"] == "pong"
        assert user.ask("unfollow", generation=ids[1])["type"] == "ended"
        assert user.ask("ping")["code"] == user.ask("unfollow", generation=ids[0])["code"] == "rate_limited"
    # The same counters as those of requests.
    assert site.post({"message": "a"}).status_code == 429
    assert site.user.post(f"/api/generations/{ids[1]}/cancel").status_code == 429


def test_too_many_running_answers_and_too_many_follows_are_rejected(build: Build) -> None:
    site = build(max_active_per_user=3, max_follows=2)
    others = [site.ask(), site.ask()]
    with SocketUser(site) as user:
        assert user.ask("send", message="a")["type"] == "accepted"
        assert user.ask("send", message="a")["code"] == "too_many_active"
        assert user.ask("follow", generation=others[0])["type"] == "following"
        full = user.ask("follow", generation=others[1])
        assert (full["status"], full["code"]) == (400, "bad_follow")
        assert user.ask("follow", generation=others[0])["type"] == "following", "it is followed already"
        assert site.user.get(f"/api/generations/{others[1]}").status_code == 200


def test_sockets_and_the_generations_on_them_hold_places(build: Build) -> None:
    site = build(max_readers_per_user=2)
    one, two = site.ask(), site.ask()
    with SocketUser(site) as user:
        assert user.ask("follow", generation=one)["type"] == "following"
        assert user.ask("follow", generation=two)["code"] == "too_many_streams"
        assert user.ask("send", message="a")["code"] == "too_many_streams"
        assert len(site.generations()) == 2, "nothing was created"
        user.ask("unfollow", generation=one)
        assert user.ask("follow", generation=two)["type"] == "following"
        with SocketUser(site) as crowded:
            assert crowded.wire.wait_for_close()[0] == 1013


def test_generation_is_watched_by_the_socket_that_follows_it(site: WebHarness) -> None:
    with SocketUser(site) as user:
        kept = user.ask("send", message="a")["generation"]
        watched = user.ask("send", message="a", on_disconnect="cancel")["generation"]
        wait_for(lambda: site.services.hub.watched() == [watched], 30, "one watched generation")
        user.ask("unfollow", generation=watched)
        assert site.services.hub.watched() == []
        user.ask("follow", generation=watched)
        assert site.services.hub.watched() == [watched]
    assert site.services.hub.watched() == []
    assert kept in site.generations()


def test_ended_authorization_closes_the_socket_before_a_message_has_an_effect(site: WebHarness) -> None:
    is_valid = [True]
    authorization = Authorization("key", lambda: is_valid[0])
    with SocketUser(site, authorization=authorization) as user:
        generation = user.ask("send", message="a")["generation"]
        is_valid[0] = False
        assert user.ask("ping")["type"] == "pong"
        user.wire.say({"type": "cancel", "generation": generation})
        assert user.wire.wait_for_close()[0] == 4401
    assert site.user.get(f"/api/generations/{generation}").get_json()["status"] == "queued"


def test_drain_closes_with_a_hint_and_what_comes_later_has_no_effect(site: WebHarness) -> None:
    with SocketUser(site) as user:
        user.ask("send", message="a")
        drain = gevent.spawn(site.services.hub.drain, 5.0, lambda: None)
        code, reason = user.wire.wait_for_close()
        assert code == 1012
        assert 500 <= json.loads(reason)["retry_ms"] <= 3000
        drain.get(timeout=30)
        assert site.services.hub.reader_count == 0


def test_unavailable_store_is_a_rejection_with_its_code(build: Build) -> None:
    site = build(redis_url="redis://127.0.0.1:1/0", rate_limit_redis_url="")
    with SocketUser(site) as user:
        for _ in range(2):
            assert user.ask("send", message="a")["status"] == 503
        assert user.ask("ping")["type"] == "pong"


def test_messages_are_counted_by_type_and_status(site: WebHarness) -> None:
    with SocketUser(site) as user:
        user.ask("ping")
        user.ask("nonsense")
        user.ask("cancel", generation="x")
        user.ask("ping")
    labels = [("ping", "ok"), ("other", "422"), ("cancel", "404")]
    counts = [site.services.metrics.messages.labels(*each)._value.get() for each in labels]
    assert counts == [2.0, 1.0, 1.0]


def test_snapshot_of_a_takeover_is_an_event(site: WebHarness) -> None:
    generation = site.ask()
    holding = site.hold(generation)
    site.write(holding, StatusEvent("running", 1, "m", "bedrock"), Chunk("a"))
    expected: list[Any] = json_of(site.user.get(f"/api/generations/{generation}"))["content"]
    with SocketUser(site) as user:
        user.ask("follow", generation=generation, after="7-99")
        (first, *_) = user.events(generation, "snapshot")
        assert first[1] | {"citations": [], "tools": []} == first[1] | {"content": expected}


def test_owner_and_address_of_the_handshake_are_those_of_each_message(site: WebHarness) -> None:
    with SocketUser(site, owner="ann") as user:
        generation = user.ask("send", message="a")["generation"]
        assert user.session._client == Client("ann", "127.0.0.1")
    with SocketUser(site, owner="ann") as user:
        assert user.ask("follow", generation=generation)["type"] == "following"
    assert site.user.get(f"/api/generations/{generation}").status_code == 404
