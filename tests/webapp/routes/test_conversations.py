from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from werkzeug.test import TestResponse

from millrace.worker.contract.events import Cancelled, Chunk, Done, Usage
from millrace.worker.contract.ids import Cursor, is_id, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import COMPLETE, WHOLE, WebHarness, check_problem, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn

Build = Callable[..., WebHarness]


def test_question_of_any_text_is_stored_before_the_reply(site: WebHarness) -> None:
    receipt = begin(site, "what is \ud83d a\x00 weir?")
    stored = messages_of(site, receipt["conversation_id"])["messages"]
    assert [(each["role"], each["content"]) for each in stored] == [("user", "what is \ud83d a\x00 weir?")]


def test_conversation_has_its_active_generation_until_the_outcome(site: WebHarness) -> None:
    receipt = begin(site)
    conversation, generation = receipt["conversation_id"], receipt["id"]

    def active() -> list[Any]:
        listed = json_of(site.user.get(API))["conversations"]
        assert [each["id"] for each in listed] == [conversation]
        one = json_of(site.user.get(f"{API}/{conversation}"))
        assert listed == [one]
        return [one["active_generation"], messages_of(site, conversation)["active_generation"]]

    assert active() == [generation] * 2
    site.write(site.hold(generation), *WHOLE)
    assert active() == [None] * 2


def test_conversation_is_created_empty_and_renamed(site: WebHarness) -> None:
    answer = site.user.post(API, json={"title": "Wheels \ud83d"})
    made = json_of(answer)
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{API}/{made['id']}"
    assert (is_id(made["id"]), made["title"], made["active_generation"]) == (True, "Wheels \ud83d", None)
    assert json_of(site.user.post(API))["title"] is None
    renamed = site.user.patch(f"{API}/{made['id']}", json={"title": "Weirs"})
    assert (renamed.status_code, json_of(renamed)["title"]) == (200, "Weirs")
    assert json_of(site.user.get(f"{API}/{made['id']}"))["title"] == "Weirs"
    assert begin(site, conversation_id=made["id"])["conversation_id"] == made["id"]


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("post", {"title": " "}),
        ("post", {"title": "x" * 201}),
        ("post", {"title": 5}),
        ("patch", {}),
        ("patch", {"title": None}),
        ("patch", {"title": ""}),
        ("patch", {"title": " \n"}),
    ],
)
def test_invalid_title_is_422(site: WebHarness, method: str, body: Any) -> None:
    url = API if method == "post" else f"{API}/{begin(site)['conversation_id']}"
    check_problem(getattr(site.user, method)(url, json=body), 422, "invalid_field", "title")
    check_problem(getattr(site.user, method)(url, json={"name": "a"}), 422, "invalid_field", "name")


def test_conversations_are_paged_last_changed_first(site: WebHarness) -> None:
    made = [json_of(site.user.post(API))["id"] for _ in range(7)]
    site.user.patch(f"{API}/{made[2]}", json={"title": "changed"})
    found: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        page = json_of(site.user.get(f"{API}?limit=3&cursor={cursor}"))
        found += [each["id"] for each in page["conversations"]]
        cursor, pages = page["next"], pages + 1
    assert (found[0], sorted(found), pages) == (made[2], sorted(made), 3)
    assert found[1:] == [each for each in reversed(made) if each != made[2]]


@pytest.mark.parametrize("path", ["", "/CONVERSATION/messages"])
def test_invalid_cursor_or_limit_is_rejected(site: WebHarness, path: str) -> None:
    url = API + path.replace("CONVERSATION", begin(site)["conversation_id"])
    for cursor in ("x", "1", "1-", "-1", "1-2-3", "9" * 16 + "-1", "\u0661-1", "1" * 10_000):
        check_problem(site.user.get(url, query_string={"cursor": cursor}), 400, "bad_cursor")
    for limit in ("0", "101", "-1", "x", "1.5", "\u0661", "1" * 10_000):
        check_problem(site.user.get(url, query_string={"limit": limit}), 422, "invalid_field", "limit")


def test_list_needs_a_constant_number_of_database_queries(site: WebHarness) -> None:
    statements: list[str] = []
    sql_event.listen(
        site.services.database._engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )

    def cost() -> int:
        statements.clear()
        site.redis.config_resetstat()
        assert site.user.get(f"{API}?limit=100").status_code == 200
        return len(statements)

    begin(site)
    few = cost()
    for _ in range(30):
        begin(site)
    assert cost() == few
    calls = {name: each["calls"] for name, each in site.redis.info("commandstats").items()}  # type: ignore[union-attr]
    assert calls["cmdstat_hget"] == calls["cmdstat_hmget"] == 31
    assert site.redis.info("stats")["total_connections_received"] == 0  # type: ignore[index]


def test_delete_removes_messages_and_cancels_the_running_generation(site: WebHarness) -> None:
    receipt = begin(site)
    conversation, generation = receipt["conversation_id"], receipt["id"]
    holding = site.hold(generation)
    assert site.user.delete(f"{API}/{conversation}").status_code == 204
    assert site.redis.hget(keys_of(generation).state, "cancel") == b"deleted"
    for _ in range(2):
        check_problem(site.user.get(f"{API}/{conversation}"), 404, "not_found")
        check_problem(site.user.get(f"{API}/{conversation}/messages"), 404, "not_found")
        check_problem(site.user.delete(f"{API}/{conversation}"), 404, "not_found")
        more = site.post({"message": "more", "conversation_id": conversation})
        check_problem(more, 404, "not_found", "conversation_id")
    # The generation that ran during the deletion ends and stores its answer now: nothing may reappear.
    question = StoredQuestion(new_id(), site.owner(), conversation, "hello")
    answer = StoredAnswer(new_id(), generation, holding.claim.epoch, Cursor(1, 9), "late", COMPLETE)
    assert not site.services.database.run(lambda session: save_answer(session, question, answer))
    check_problem(site.user.get(f"{API}/{conversation}"), 404, "not_found")
    assert json_of(site.user.get(API))["conversations"] == []


def test_delete_ends_access_to_every_generation_and_removes_its_texts_from_redis(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    turn(site, conversation, "a question", "an answer")
    ended = site.ask("a secret question", conversation_id=conversation)
    site.write(site.hold(ended), Chunk("a secret answer"), COMPLETE, Done("completed"))
    question = StoredQuestion(new_id(), site.owner(), conversation, "a secret question")
    answer = StoredAnswer(new_id(), ended, 1, Cursor(1, 9), "a secret answer", COMPLETE)
    assert site.services.database.run(lambda session: save_answer(session, question, answer))
    unstored = site.ask("a secret question", conversation_id=conversation)
    site.write(site.hold(unstored), Chunk("a secret answer"), COMPLETE, Done("completed"))
    assert site.user.delete(f"{API}/{conversation}").status_code == 204
    for generation in (ended, unstored):
        url = f"/api/generations/{generation}"
        for response in (site.user.get(url), site.user.get(f"{url}/events"), site.user.post(f"{url}/cancel")):
            check_problem(response, 404, "not_found")
        check_problem(site.user.get(f"/api/events?follow={generation}"), 404, "not_found")
        keys = keys_of(generation)
        assert not site.redis.exists(keys.log)
        assert site.redis.zscore(keys.unstored, generation) is None
        assert not any(b"secret" in value for value in site.redis.hvals(keys.state))  # type: ignore[union-attr]
        assert 0 < site.redis.pttl(keys.state) <= 30_000  # type: ignore[operator]


def test_running_generation_of_a_deleted_conversation_is_unreadable_at_once(site: WebHarness) -> None:
    receipt = begin(site)
    holding = site.hold(receipt["id"])
    assert site.user.delete(f"{API}/{receipt['conversation_id']}").status_code == 204
    check_problem(site.user.get(f"/api/generations/{receipt['id']}"), 404, "not_found")
    site.write(holding, Cancelled("deleted", Usage()), Done("cancelled"))
    check_problem(site.user.get(f"/api/generations/{receipt['id']}"), 404, "not_found")
    assert 0 < site.redis.pttl(keys_of(receipt["id"]).log) <= 30_000  # type: ignore[operator]


def test_conversation_not_yet_stored_can_be_deleted_and_does_not_reappear(build: Build, site: WebHarness) -> None:
    apart = build(database_url="sqlite:////nowhere/at/all.db", database_seconds=0.2)
    apart.user = site.user
    apart.user.application = apart.app
    receipt = begin(apart)
    site.user.application = site.app
    conversation = receipt["conversation_id"]
    assert site.user.delete(f"{API}/{conversation}").status_code == 204
    state = read_state(Streams(site.redis), receipt["id"])
    assert state is not None
    assert state.status == "cancelled"
    question = StoredQuestion(new_id(), site.owner(), conversation, "hello")
    answer = StoredAnswer(new_id(), receipt["id"], 1, Cursor(1, 9), "late", COMPLETE)
    assert not site.services.database.run(lambda session: save_answer(session, question, answer))
    assert json_of(site.user.get(API))["conversations"] == []


def responses_to(site: WebHarness, client: Any, conversation: str, message: str) -> list[TestResponse]:
    url = f"{API}/{conversation}"
    return [
        client.get(url),
        client.patch(url, json={"title": "mine"}),
        client.delete(url),
        client.get(f"{url}/messages"),
        client.post(f"{url}/messages/{message}/retry"),
        client.post(f"{url}/messages/{message}/edit", json={"message": "other"}),
    ]


@pytest.mark.parametrize("conversation", ["0" * 32, "x", "0" * 31 + "G", "%00", "x" * 5000])
def test_foreign_absent_and_malformed_ids_get_the_same_404(site: WebHarness, conversation: str) -> None:
    receipt = begin(site)
    (question,) = messages_of(site, receipt["conversation_id"])["messages"]
    stranger = site.stranger()
    site.owner(stranger)
    details = {
        check_problem(answer, 404, "not_found")["detail"]
        for client in (stranger, site.stranger())
        for theirs in (receipt["conversation_id"], conversation)
        for answer in responses_to(site, client, theirs, question["id"])
    }
    assert len(details) == 1
    assert json_of(stranger.get(API))["conversations"] == json_of(site.stranger().get(API))["conversations"] == []
    assert json_of(site.user.get(f"{API}/{receipt['conversation_id']}"))["title"] is None
    assert [key for key in site.made() if conversation in key] == []


def test_unavailable_database_is_503_within_its_timeout(build: Build) -> None:
    site = build(database_url="sqlite:////nowhere/at/all.db", database_seconds=0.2)
    site.owner()
    for answer in (site.user.get(API), site.user.post(API), *responses_to(site, site.user, "0" * 32, "0" * 32)):
        check_problem(answer, 503, "store_away")


def test_search_returns_the_conversations_that_match_with_their_excerpts(site: WebHarness) -> None:
    found = json_of(site.user.post(API, json={"title": "Mills"}))["id"]
    turn(site, found, "why do wheels turn?", "because")
    other = json_of(site.user.post(API, json={"title": "Other"}))["id"]
    turn(site, other, "something else", "yes")
    site.services.housekeeping.index_messages()
    page = json_of(site.user.get(API, query_string={"q": "wheel"}))
    assert page["next"] is None
    (listed,) = page["conversations"]
    match = listed.pop("match")
    assert listed == json_of(site.user.get(f"{API}/{found}"))
    assert match["message_id"] == messages_of(site, found)["messages"][0]["id"]
    assert match["role"] == "user"
    assert [each["text"] for each in match["excerpt"] if each["is_hit"]] == ["wheels"]
    (titled,) = json_of(site.user.get(API, query_string={"q": "mil"}))["conversations"]
    assert (titled["id"], titled["match"]["message_id"]) == (found, None)
    for blank in ("", " "):
        assert len(json_of(site.user.get(API, query_string={"q": blank}))["conversations"]) == 2
    stranger = site.stranger()
    assert json_of(stranger.get(API, query_string={"q": "wheel"}))["conversations"] == []
    site.owner(stranger)
    assert json_of(stranger.get(API, query_string={"q": "wheel"}))["conversations"] == []


def test_search_is_paged_and_bounded(site: WebHarness) -> None:
    made = [json_of(site.user.post(API, json={"title": f"wheel {number}"}))["id"] for number in range(3)]
    site.services.housekeeping.index_messages()
    first = json_of(site.user.get(API, query_string={"q": "wheel", "limit": 2}))
    rest = json_of(site.user.get(API, query_string={"q": "wheel", "limit": 2, "cursor": first["next"]}))
    listed = [each["id"] for each in first["conversations"] + rest["conversations"]]
    assert (sorted(listed), rest["next"]) == (sorted(made), None)
    check_problem(site.user.get(API, query_string={"q": "x" * 201}), 422, "invalid_field", "q")
    check_problem(site.user.get(API, query_string={"q": "wheel", "cursor": "x"}), 400, "bad_cursor")
