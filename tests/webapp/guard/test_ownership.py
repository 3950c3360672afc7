"""On every route with an id and with every method, another user's id gets the same 404 as an absent one."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from flask.testing import FlaskClient
from redis.connection import AbstractConnection
from sqlalchemy import event
from sqlalchemy.orm import Session

from millrace.webapp import create_app
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import conversation_key
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from millrace.worker.store.database import Database
from tests.webapp.generation.test_stored_log import answered, expire
from tests.webapp.guard.auth.test_owners import WAYS
from tests.webapp.harness import WebHarness, json_of
from tests.webapp.stored_turns import begin, messages_of

# Valid bodies for the routes that need one, so that only the id is wrong.
BODIES: dict[str, Any] = {
    "edit_message": {"message": "a"},
    "rename_conversation": {"title": "mine now"},
    "answer": {"message": "a"},
    "stream": {"message": "a"},
}
NO_IDS = {"model", "rest"}  # names and paths that are the same for all owners
NOTHING_RUNS = {"millrace.aisdk.resume_stream", "millrace.aisdk.stop_answer"}
"""Routes that answer 204 for a chat in which nothing runs; an app makes up its chats' ids, so none is absent."""
ENDPOINTS = {
    rule.endpoint: rule
    for rule in create_app(Settings.of(secret_key="of this list" * 3)).url_map.iter_rules()
    if rule.arguments - NO_IDS and not rule.endpoint.endswith(".static")
}


def things_of(site: WebHarness) -> dict[str, str]:
    """Create one thing of each kind for the user, and return their ids by the names of the route variables."""
    receipt = begin(site, "mine")
    owner = site.owner()
    site.services.database.run(lambda session: memories.add(session, owner, "a fact", None))
    (memory,) = site.user.get("/api/memories").get_json()["memories"]
    (question,) = messages_of(site, receipt["conversation_id"])["messages"]
    return {
        **of_generation(receipt["id"]),
        "image": "31415926",
        "conversation": receipt["conversation_id"],
        "message": question["id"],
        "memory": memory["id"],
        "user": owner,
        "chat": receipt["conversation_id"],
    }


def of_generation(generation: str) -> dict[str, str]:
    """Return the route variables that name a generation, which each protocol calls by its own word."""
    return dict.fromkeys(("generation", "completion", "response"), generation)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_foreign_and_absent_ids_get_the_same_404_on_every_route(site: WebHarness, endpoint: str) -> None:
    mine = things_of(site)
    rule = ENDPOINTS[endpoint]
    assert rule.arguments <= set(mine), "a new kind of id: add one to things_of"
    body = BODIES.get(endpoint.rpartition(".")[2], {})
    before = sorted(site.made())
    expected = 204 if endpoint in NOTHING_RUNS else 404
    stranger = site.stranger()
    site.owner(stranger)
    for method in (rule.methods or set()) - {"OPTIONS"}:

        def ask(given: dict[str, str], method: str = method) -> tuple[int, bytes]:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: given[found[1]], rule.rule)
            more = {"json": body} if method in ("POST", "PUT", "PATCH") else {}
            answer = stranger.open(path, method=method, **more)
            shown = answer.get_data()
            for name in rule.arguments & given.keys():  # a message may repeat the id that was asked for
                shown = shown.replace(given[name].encode(), b"ID")
            return answer.status_code, shown

        foreign, absent = ask(mine), ask({name: new_id() for name in mine})
        assert foreign[0] == expected
        assert foreign == absent
        for odd in ("x", "a b", "%00", "%ed%a0%80", "0" * 33, "G" * 32):
            assert ask(dict.fromkeys(mine, odd))[0] == expected, odd
    assert sorted(site.made()) == before
    assert site.user.get(f"/api/generations/{mine['generation']}").status_code == 200


@contextmanager
def recorded() -> Generator[list[str]]:
    """Collect the commands that the test's requests send to Redis, and their statements to the database."""
    found: list[str] = []
    greenlet, send, run = gevent.getcurrent(), AbstractConnection.send_packed_command, Database.run

    def send_and_record(self: Any, command: Any, *given: Any, **more: Any) -> Any:
        if gevent.getcurrent() is greenlet:  # not of a background task
            parts = command if isinstance(command, list | tuple) else [command]
            found.append(repr(b"".join(bytes(part) for part in parts)))
        return send(self, command, *given, **more)

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append(f"{statement} {parameters}")

    def run_and_record(self: Database, work: Callable[[Session], Any], seconds: float | None = None) -> Any:
        def recorded_work(session: Session) -> Any:
            event.listen(session.connection(), "before_cursor_execute", record)
            return work(session)

        return run(self, recorded_work if gevent.getcurrent() is greenlet else work, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", send_and_record)
        patch.setattr(Database, "run", run_and_record)
        yield found


CHANGING = r"{b\d\d}|[0-9a-f]{32}"  # a generation's bucket, and the hash of a chat
OPENS_CONNECTION = r"\\r\\n(HELLO|AUTH|PING|CLIENT|SELECT)\\r\\n"


def accesses(user: FlaskClient, ids: dict[str, str]) -> dict[str, list[str]]:
    """Request every route with these ids; return what each request sends to Redis and to the database."""
    ids = {**ids, "chat": ids["conversation"]}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/generations", {"message": "a", "conversation_id": ids["conversation"]}),
        ("POST", "/api/conversation/me", {"message": "a", "session_id": ids["conversation"]}),
        ("GET", f"/api/events?follow={ids['generation']}&feed=1", None),
        ("GET", f"/api/events?follow={ids['generation']}@1-5", None),
    ]
    for endpoint, rule in ENDPOINTS.items():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids[found[1]], rule.rule)
        body = BODIES.get(endpoint.rpartition(".")[2], {})
        requests += [
            (method, path, body if method in ("POST", "PUT", "PATCH") else None)
            for method in sorted((rule.methods or set()) - {"OPTIONS"})
        ]
    sent: dict[str, list[str]] = {}
    for method, path, body in requests:
        with recorded() as found:
            answer = user.open(path, method=method, json=body)
        expected = 204 if answer.request.path.startswith("/api/chat/") else 404
        assert answer.status_code == expected, (method, path, answer.data)
        name = f"{method} {path} {body}"
        for kind, each in ids.items():
            name = name.replace(each, kind)
            found = [one.replace(each, kind) for one in found]
        # Commands that open or check a connection depend on how many are idle, not on the request.
        sent[name] = [re.sub(CHANGING, "{}", one) for one in found if not re.search(OPENS_CONNECTION, one)]
    return sent


def test_foreign_ids_cause_the_same_queries_as_absent_ones(site: WebHarness) -> None:
    running = things_of(site)

    def things_with_answer() -> dict[str, str]:
        generation, _ = answered(site)
        view = json_of(site.user.get(f"/api/generations/{generation}"))
        return running | of_generation(generation) | {"conversation": view["conversation_id"]}

    stored, expired, deleted = (things_with_answer() for _ in range(3))
    expire(site, expired["generation"], "the log and the state")
    site.redis.delete(conversation_key(expired["conversation"]))
    assert site.user.delete(f"/api/conversations/{deleted['conversation']}").status_code == 204
    stranger = site.stranger()
    site.owner(stranger)
    unknown = {name: new_id() for name in running}
    absent = accesses(stranger, unknown | of_generation(new_id()))
    assert sum(map(len, absent.values())) > len(absent), "the test sees the queries"
    for ids in (running, stored, expired, deleted):
        foreign = accesses(stranger, ids)
        for request, sent in absent.items():
            assert foreign[request] == sent, request


def test_request_for_several_generations_is_404_if_one_is_foreign(site: WebHarness) -> None:
    theirs = things_of(site)["generation"]
    stranger = site.stranger()
    own = stranger.post("/api/generations", json={"message": "a"}).get_json()["id"]
    for other in (theirs, new_id()):
        assert stranger.get(f"/api/events?follow={own}&follow={other}").status_code == 404


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_unauthenticated_request_is_401_on_every_route(build: Any, endpoint: str, way: str) -> None:
    site = build(**WAYS[way][0])
    rule = ENDPOINTS[endpoint]
    path = re.sub(r"<(?:\w+:)?(\w+)>", "0" * 32, rule.rule)
    for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
        answer = site.stranger().open(path, method=method, json=BODIES.get(endpoint.rpartition(".")[2], {}))
        assert answer.status_code == 401, (method, path)
