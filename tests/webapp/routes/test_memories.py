"""What is remembered can be looked at and forgotten, by its owner alone."""

from typing import Any

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.store import memories
from tests.webapp.site import Site, check_problem, json_of

API = "/api/memories"


def learn(site: Site, *facts: str, conversation: str | None = None) -> None:
    owner = site.owner()
    for fact in facts:
        site.services.database.run(lambda session, fact=fact: memories.add(session, owner, fact, conversation))


def show(site: Site, query: str = "") -> Any:
    answer = site.user.get(f"{API}{query}")
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def test_the_newest_come_first_page_by_page(site: Site) -> None:
    assert show(site) == {"memories": [], "next": None}
    conversation = new_id()
    learn(site, *(f"fact \ud800 {number}" for number in range(5)), conversation=conversation)
    first = show(site, "?limit=3")
    second = show(site, f"?limit=3&cursor={first['next']}")
    told = [*first["memories"], *second["memories"]]
    assert [each["content"] for each in told] == [f"fact \ud800 {number}" for number in (4, 3, 2, 1, 0)]
    assert {each["conversation_id"] for each in told} == {conversation}
    assert second["next"] is None


def test_one_is_forgotten_or_all(site: Site) -> None:
    learn(site, "one", "two", "three")
    last = show(site)["memories"][0]["id"]
    assert site.user.delete(f"{API}/{last}").status_code == 204
    check_problem(site.user.delete(f"{API}/{last}"), 404, "not_found")
    assert [each["content"] for each in show(site)["memories"]] == ["two", "one"]
    assert site.user.delete(API).status_code == 204
    assert show(site)["memories"] == []


def test_a_foreign_memory_is_the_same_404_as_an_absent_one(site: Site) -> None:
    learn(site, "mine")
    mine, stranger = show(site)["memories"][0]["id"], site.stranger()
    for name in (mine, new_id(), "x", "%00", "%ed%a0%80"):
        check_problem(stranger.delete(f"{API}/{name}"), 404, "not_found")
    assert json_of(stranger.get(API))["memories"] == []
    assert stranger.delete(API).status_code == 204
    assert len(show(site)["memories"]) == 1


@pytest.mark.parametrize(("query", "status"), [("?cursor=x", 400), ("?limit=0", 422), ("?limit=101", 422)])
def test_a_bad_page_is_refused(site: Site, query: str, status: int) -> None:
    learn(site, "one")
    assert site.user.get(f"{API}{query}").status_code == status
