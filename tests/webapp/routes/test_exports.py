"""A conversation is exported as a whole, by its owner only."""

from collections.abc import Callable

import pytest

from millrace.webapp.routes.exports import MESSAGES
from tests.webapp.harness import WebHarness, check_problem, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn


def test_json_has_the_conversation_and_all_its_messages_as_the_api_has_them(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API, json={"title": "Wheels \ud83d"}))["id"]
    site.user.patch(f"{API}/{conversation}/context", json={"town": "Leeds"})
    for number in range(MESSAGES + 1):
        turn(site, conversation, f"q{number}", f"a{number} \ud83d")
    answer = site.user.get(f"{API}/{conversation}/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Wheels.json"'
    exported = json_of(answer)
    kept = json_of(site.user.get(f"{API}/{conversation}"))
    del kept["active_generation"]
    assert exported["conversation"] == kept | {"context": {"town": "Leeds"}}
    assert exported["messages"] == messages_of(site, conversation, "?limit=100")["messages"]
    assert len(exported["messages"]) == 2 * (MESSAGES + 1)


def test_markdown_has_all_messages_in_order(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API, json={"title": "水車"}))["id"]
    for number in range(MESSAGES):
        turn(site, conversation, f"q{number}", f"a{number}")
    answer = site.user.get(f"{API}/{conversation}/export?format=markdown")
    assert answer.content_type == "text/markdown; charset=utf-8"
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''%E6%B0%B4%E8%BB%8A.md")
    assert answer.text.startswith("# 水車\n")
    asked = [line for line in answer.text.splitlines() if line[:1] in "qa" and line[1:].isdecimal()]
    assert asked == [f"{role}{number}" for number in range(MESSAGES) for role in "qa"]


def test_empty_conversation_is_exported(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    assert json_of(site.user.get(f"{API}/{conversation}/export?format=json"))["messages"] == []
    assert site.user.get(f"{API}/{conversation}/export?format=markdown").text == "# Conversation\n"


@pytest.mark.parametrize("conversation", ["0" * 32, "x", "%00"])
def test_export_of_an_absent_or_foreign_conversation_is_404(site: WebHarness, conversation: str) -> None:
    own = begin(site)["conversation_id"]
    stranger = site.stranger()
    site.owner(stranger)
    problem = check_problem(site.user.get(f"{API}/{conversation}/export"), 404, "not_found")
    assert check_problem(stranger.get(f"{API}/{own}/export"), 404, "not_found") == problem


def test_unknown_format_is_422_and_a_database_that_is_away_503(build: Callable[..., WebHarness]) -> None:
    site = build()
    own = begin(site)["conversation_id"]
    check_problem(site.user.get(f"{API}/{own}/export?format=pdf"), 422, "invalid_field", "format")
    away = build(database_url="sqlite:////nowhere/at/all.db", database_seconds=0.2)
    away.user = site.user
    away.user.application = away.app
    check_problem(away.user.get(f"{API}/{own}/export"), 503, "store_away")
