"""Memories are listed and deleted by their owner only."""

from typing import Any

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.store import memories
from tests.webapp.harness import WebHarness, check_problem, json_of

API = "/api/memories"


def learn(site: WebHarness, *facts: str, conversation: str | None = None) -> None:
    owner = site.owner()
    for fact in facts:
        site.services.database.run(lambda session, fact=fact: memories.add(session, owner, fact, conversation))


def list_page(site: WebHarness, query: str = "") -> Any:
    answer = site.user.get(f"{API}{query}")
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def test_memories_are_paged_newest_first(site: WebHarness) -> None:
    assert list_page(site) == {"memories": [], "next": None}
    conversation = new_id()
    learn(site, *(f"fact \ud800 {number}" for number in range(5)), conversation=conversation)
    first = list_page(site, "?limit=3")
    second = list_page(site, f"?limit=3&cursor={first['next']}")
    listed = [*first["memories"], *second["memories"]]
    assert [each["content"] for each in listed] == [f"fact \ud800 {number}" for number in (4, 3, 2, 1, 0)]
    assert {each["conversation_id"] for each in listed} == {conversation}
    assert second["next"] is None


def test_one_memory_or_all_are_deleted(site: WebHarness) -> None:
    learn(site, "one", "two", "three")
    last = list_page(site)["memories"][0]["id"]
    assert site.user.delete(f"{API}/{last}").status_code == 204
    check_problem(site.user.delete(f"{API}/{last}"), 404, "not_found")
    assert [each["content"] for each in list_page(site)["memories"]] == ["two", "one"]
    assert site.user.delete(API).status_code == 204
    assert list_page(site)["memories"] == []


def test_foreign_memory_is_the_404_of_an_absent_one(site: WebHarness) -> None:
    learn(site, "mine")
    mine, stranger = list_page(site)["memories"][0]["id"], site.stranger()
    for name in (mine, new_id(), "x", "%00", "%ed%a0%80"):
        check_problem(stranger.delete(f"{API}/{name}"), 404, "not_found")
    assert json_of(stranger.get(API))["memories"] == []
    assert stranger.delete(API).status_code == 204
    assert len(list_page(site)["memories"]) == 1


@pytest.mark.parametrize(("query", "status"), [("?cursor=x", 400), ("?limit=0", 422), ("?limit=101", 422)])
def test_invalid_cursor_and_limit_are_rejected(site: WebHarness, query: str, status: int) -> None:
    learn(site, "one")
    assert site.user.get(f"{API}{query}").status_code == status
