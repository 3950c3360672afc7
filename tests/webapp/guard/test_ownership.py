"""On every route with an id and with every method, another user's id gets the same 404 as an absent one."""

import re
from typing import Any

import pytest

from millrace.webapp import create_app
from millrace.worker.contract.ids import new_id
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories
from tests.webapp.guard.auth.test_owners import WAYS
from tests.webapp.site import Site
from tests.webapp.talking import begin, messages_of

# Valid bodies for the routes that need one, so that only the id is wrong.
BODIES: dict[str, Any] = {
    "rename_conversation": {"title": "mine now"},
    "answer": {"message": "a"},
    "stream": {"message": "a"},
}
ENDPOINTS = {
    rule.endpoint: rule
    for rule in create_app(Settings.of(secret_key="of this list" * 3)).url_map.iter_rules()
    if rule.arguments and rule.endpoint != "millrace.static"
}


def things_of(site: Site) -> dict[str, str]:
    """Create one thing of each kind for the user, and return their ids by the names of the route variables."""
    receipt = begin(site, "mine")
    owner = site.owner()
    site.services.database.run(lambda session: memories.add(session, owner, "a fact", None))
    (memory,) = site.user.get("/api/memories").get_json()["memories"]
    (question,) = messages_of(site, receipt["conversation_id"])["messages"]
    return {
        "generation": receipt["id"],
        "conversation": receipt["conversation_id"],
        "message": question["id"],
        "memory": memory["id"],
        "user": owner,
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_foreign_and_absent_ids_get_the_same_404_on_every_route(site: Site, endpoint: str) -> None:
    mine = things_of(site)
    rule = ENDPOINTS[endpoint]
    assert rule.arguments <= set(mine), "a new kind of id: add one to things_of"
    body = BODIES.get(endpoint.rpartition(".")[2], {})
    before = sorted(site.made())
    stranger = site.stranger()
    stranger.get("/")
    for method in (rule.methods or set()) - {"OPTIONS"}:

        def ask(given: dict[str, str], method: str = method) -> tuple[int, bytes]:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: given[found[1]], rule.rule)
            more = {"json": body} if method in ("POST", "PUT", "PATCH") else {}
            answer = stranger.open(path, method=method, **more)
            return answer.status_code, answer.data

        foreign, absent = ask(mine), ask({name: new_id() for name in mine})
        assert foreign[0] == 404
        assert foreign == absent
        for odd in ("x", "a b", "%00", "%ed%a0%80", "0" * 33, "G" * 32):
            assert ask(dict.fromkeys(mine, odd))[0] == 404, odd
    assert sorted(site.made()) == before
    assert site.user.get(f"/api/generations/{mine['generation']}").status_code == 200


def test_request_for_several_generations_is_404_if_one_is_foreign(site: Site) -> None:
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
