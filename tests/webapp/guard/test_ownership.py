"""What is somebody else's is the same 404 as what is not there, by every route with an id, whatever the method."""

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

# What a route takes besides its ids, where it takes anything: so that nothing else is wrong with the request.
BODIES: dict[str, Any] = {
    "rename_conversation": {"title": "mine now"},
    "answer": {"message": "a"},
    "stream": {"message": "a"},
}
ENDPOINTS = {
    rule.endpoint: rule
    for rule in create_app(Settings.of(secret_key="of this list")).url_map.iter_rules()
    if rule.arguments and rule.endpoint != "millrace.static"
}


def things_of(site: Site) -> dict[str, str]:
    """Return ids of one user's of every kind that a route may take."""
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
def test_a_strangers_answer_is_the_same_for_mine_and_for_nobodys(site: Site, endpoint: str) -> None:
    mine = things_of(site)
    rule = ENDPOINTS[endpoint]
    assert rule.arguments <= set(mine), "a new kind of id: say above whose it is"
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


def test_several_at_once_are_refused_for_one_that_is_not_ones_own(site: Site) -> None:
    theirs = things_of(site)["generation"]
    stranger = site.stranger()
    own = stranger.post("/api/generations", json={"message": "a"}).get_json()["id"]
    for other in (theirs, new_id()):
        assert stranger.get(f"/api/events?follow={own}&follow={other}").status_code == 404


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_who_is_nobody_gets_a_401_by_every_route(build: Any, endpoint: str, way: str) -> None:
    site = build(**WAYS[way][0])
    rule = ENDPOINTS[endpoint]
    path = re.sub(r"<(?:\w+:)?(\w+)>", "0" * 32, rule.rule)
    for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
        answer = site.stranger().open(path, method=method, json=BODIES.get(endpoint.rpartition(".")[2], {}))
        assert answer.status_code == 401, (method, path)
