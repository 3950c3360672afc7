"""The limit of active generations per owner holds on every route that creates one."""

from collections.abc import Callable

import gevent
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from millrace.webapp.extension import INSTANCE
from millrace.webapp.generation import creation
from millrace.webapp.generation.responses import LARGE_BYTES
from millrace.worker.contract.events import Cancelled, Chunk, Done, StatusEvent
from millrace.worker.contract.ids import cursor_of
from millrace.worker.contract.keys import WAITING, active_key, conversation_key, keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state
from tests.client import wait_for
from tests.webapp.harness import CREATING, DEAD_PORT, USAGE, WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


@pytest.fixture
def site(build: Build) -> WebHarness:
    return build(max_active_per_user=2)


def active_of(site: WebHarness, generation: str) -> int:
    state = read_state(Streams(site.redis), generation)
    assert state is not None
    return int(site.redis.zcard(active_key(state.owner)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_generation_over_the_limit_is_rejected_and_nothing_is_created(
    site: WebHarness, path: str, body: dict[str, object]
) -> None:
    running = [site.ask(), site.ask()]
    before, queued = site.generations(), site.queued_tasks()
    answer = site.user.post(path, json=body)
    assert "2 answers running" in check_problem(answer, 429, "too_many_active")["detail"]
    assert (sorted(site.generations()), site.queued_tasks()) == (sorted(before), queued)
    assert site.stranger().post(API, json={"message": "a"}).status_code == 202
    site.user.post(f"{API}/{running[0]}/cancel")
    assert site.ask()


def test_generation_over_the_limit_leaves_its_conversation_free(site: WebHarness) -> None:
    first = json_of(site.post({"message": "a"}))
    site.user.post(first["cancel_url"])
    running = [site.ask(), site.ask()]
    asked = {"message": "b", "conversation_id": first["conversation_id"]}
    check_problem(site.post(asked), 429, "too_many_active")
    active = site.redis.hget(conversation_key(first["conversation_id"]), "active")
    assert active in (None, first["id"].encode())
    site.user.post(f"{API}/{running[0]}/cancel")
    assert site.post(asked).status_code == 202


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_address_over_its_limit_is_rejected_and_nothing_is_created(
    build: Build, path: str, body: dict[str, object]
) -> None:
    site = build(max_active_per_address=2, trusted_proxies=1)

    def ask(client: FlaskClient, address: str, path: str = API, body: object = None) -> TestResponse:
        return client.post(path, json=body or {"message": "a"}, headers={"X-Forwarded-For": address})

    running = [json_of(ask(client, "192.0.2.1"))["id"] for client in (site.user, site.stranger())]
    before, queued = site.made(), site.queued_tasks()
    newcomer = site.stranger()
    for client in (site.user, newcomer):
        problem = check_problem(ask(client, "::ffff:192.0.2.1", path, body), 429, "too_many_active")
        assert "(MILLRACE_MAX_ACTIVE_PER_ADDRESS)" in problem["detail"]
    assert (site.made(), site.queued_tasks()) == (before, queued)
    assert newcomer.get_cookie(site.cookie_name) is None
    assert active_of(site, running[0]) == 1, "the owner's own count is as before"
    assert ask(newcomer, "192.0.2.2").status_code == 202
    site.user.post(f"{API}/{running[0]}/cancel")
    assert ask(site.stranger(), "192.0.2.1").status_code == 202


@pytest.mark.parametrize("path", ["/api/generations", "/api/chat", "/api/conversation-stream/me"])
def test_a_large_request_over_a_limit_is_rejected_without_reading_it(build: Build, path: str) -> None:
    site = build(max_active_per_user=1, max_active_per_address=2)
    site.ask()
    large = {"data": b"[" * (LARGE_BYTES + 1), "content_type": "application/json"}
    newcomer = site.stranger()
    check_problem(newcomer.post(path, **large), 400, "malformed")
    check_problem(site.user.post(path, **large), 429, "too_many_active")
    check_problem(site.user.post(path, headers={"Idempotency-Key": "k"}, **large), 400, "malformed")
    assert newcomer.post(path, json={"message": "a"}).status_code in (200, 202)
    problem = check_problem(site.stranger().post(path, **large), 429, "too_many_active")
    assert "(MILLRACE_MAX_ACTIVE_PER_ADDRESS)" in problem["detail"]
    assert len(site.generations()) == 2


def test_calls_from_the_host_application_count_for_no_address(build: Build) -> None:
    site = build(max_active_per_address=1)
    extension = INSTANCE.of(site.app, "millrace")
    with site.app.test_request_context():
        for user in "abc":
            assert extension.ask(user, "hello").id
    assert site.ask()
    check_problem(site.stranger().post(API, json={"message": "a"}), 429, "too_many_active")


def test_ended_generation_frees_its_slot(site: WebHarness) -> None:
    generation = site.ask()
    for _ in range(5):
        site.write(site.hold(generation), *WHOLE)
        generation = site.ask()
    assert active_of(site, generation) <= 2


def test_repeated_idempotency_key_returns_its_generation_although_the_limit_is_reached(site: WebHarness) -> None:
    first = json_of(site.post({"message": "a"}, Idempotency_Key="k"))
    site.user.post(f"{API}/{first['id']}/cancel")
    for _ in range(2):
        site.ask()
    check_problem(site.post({"message": "b"}), 429, "too_many_active")
    again = site.post({"message": "a"}, Idempotency_Key="k")
    assert (again.status_code, json_of(again)["id"]) == (202, first["id"])


def test_idempotency_key_of_a_rejected_request_can_be_used_again(site: WebHarness) -> None:
    running = [site.ask(), site.ask()]
    check_problem(site.post({"message": "a"}, Idempotency_Key="k"), 429, "too_many_active")
    site.user.post(f"{API}/{running[0]}/cancel")
    assert site.post({"message": "a"}, Idempotency_Key="k").status_code == 202


def test_generation_that_could_not_be_enqueued_frees_its_slot(build: Build, client: Redis) -> None:
    site = build(max_active_per_user=1, broker_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    for _ in range(2):
        check_problem(site.post({"message": "a"}), 503, "queue_away")
    assert not list(client.scan_iter("mr:owner:*"))


def test_question_waits_for_a_cancel_under_way_in_its_conversation(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in (1000, 1):  # with the second, the cancelled generation also holds the only slot
        site = build(max_active_per_user=most)
        asked = json_of(site.post({"message": "a"}))
        holding = site.hold(asked["id"])
        site.write(holding, StatusEvent("running", 1, "m", "bedrock"), Chunk("x"))
        more = {"message": "more", "conversation_id": asked["conversation_id"]}
        busy = ("conversation_busy", 409) if most > 1 else ("too_many_active", 429)
        check_problem(site.post(more), busy[1], busy[0])
        assert site.user.post(asked["cancel_url"]).status_code == 202
        with monkeypatch.context() as patched:
            patched.setattr(creation, "CANCEL_SECONDS", 0.05)
            check_problem(site.post(more), busy[1], busy[0])
        posted = gevent.spawn(site.post, more)
        wait_for(lambda site=site: site.services.hub.reader_count == 1, 30, "the request to wait")
        assert not posted.ready()
        site.write(holding, Cancelled("user", USAGE), Done("cancelled"), after=3)
        assert posted.get(timeout=30).status_code == 202
        assert site.services.hub.reader_count == 0


def test_question_is_accepted_when_the_cancelled_answer_ends_while_it_is_looked_up(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = json_of(site.post({"message": "a"}))
    holding = site.hold(asked["id"])
    site.user.post(asked["cancel_url"])
    look_up = creation.running_generations
    ends = [lambda: site.write(holding, Cancelled("user", USAGE), Done("cancelled"))]

    def end_and_look_up(streams: Streams, conversations: list[str]) -> dict[str, str]:
        if ends:
            ends.pop()()
        return look_up(streams, conversations)

    monkeypatch.setattr(creation, "running_generations", end_and_look_up)
    assert site.post({"message": "b", "conversation_id": asked["conversation_id"]}).status_code == 202
    assert not ends


def test_unreadable_event_in_the_log_of_a_cancelled_answer_is_503(site: WebHarness) -> None:
    asked = json_of(site.post({"message": "a"}))
    site.hold(asked["id"])
    site.user.post(asked["cancel_url"])
    posted = gevent.spawn(site.post, {"message": "b", "conversation_id": asked["conversation_id"]})
    wait_for(lambda: site.services.hub.reader_count == 1, 30, "the request to wait")
    top = cursor_of(site.redis.xrevrange(keys_of(asked["id"]).log, count=1)[0][0])  # type: ignore[index]
    site.redis.xadd(keys_of(asked["id"]).log, {"d": b'{"type":"chunk","content":1}'}, id=f"{top.epoch}-{top.seq + 1}")
    site.redis.hset(keys_of(asked["id"]).state, "top", f"{top.epoch}-{top.seq + 1}")
    check_problem(posted.get(timeout=30), 503, "record_unreadable")


def test_questions_wait_in_the_lane_of_their_address_in_session_mode_and_of_their_owner_otherwise(build: Build) -> None:
    """However many anonymous owners an address has, its questions wait in one lane."""
    site = build()

    def ask(address: str, **headers: str) -> str:
        client = site.app.test_client()
        answer = client.post(
            "/api/generations", json={"message": "a"}, headers=headers, environ_base={"REMOTE_ADDR": address}
        )
        assert answer.status_code == 202, answer.text
        return str(json_of(answer)["id"])

    def lanes() -> dict[str, str]:
        return {key.decode(): lane.decode() for key, lane in site.redis.hgetall(WAITING[0]).items()}  # type: ignore[union-attr]

    ask("192.0.2.3")  # the first that waits needs no turn
    crowd, neighbour = [ask("192.0.2.1") for _ in range(3)], ask("192.0.2.2")
    assert len({lanes()[each] for each in crowd}) == 1
    assert lanes()[neighbour] != lanes()[crowd[0]]
    site = build(auth="header", auth_header="X-User")
    owners = [ask("192.0.2.1", **{"X-User": name}) for name in ("ann", "ben", "ann")]
    found = [lanes()[each] for each in owners]
    assert found[0] == found[2] != found[1]
    for generation, name in zip(owners, ("ann", "ben", "ann"), strict=True):
        site.user.post(f"/api/generations/{generation}/cancel", headers={"X-User": name})
    assert not set(owners) & set(lanes())
