from typing import Any

import pytest

from millrace.worker.contract.events import AnyEvent, Chunk, Done
from millrace.worker.contract.keys import keys_of
from tests.webapp.facades.openai.responses.logs import Json, check_error, own, stored
from tests.webapp.harness import COMPLETE, WebHarness, json_of

API = "/v1/responses"
HISTORY = [{"role": role, "content": role} for role in ("user", "assistant", "user")]


def create(site: WebHarness, question: Any, **fields: Any) -> Json:
    answer = site.user.post(API, json={"input": question, "background": True, **fields})
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def asked(site: WebHarness, response: Json) -> tuple[list[str], str]:
    """Return the messages of the request, each with the first letter of its role, and the id of its conversation."""
    holding = site.hold(own(response))
    texts = [f"{each.role[0]}:{each.content}" for each in holding.request.messages]
    return texts, holding.conversation if holding.question else ""


def conversation_of(site: WebHarness, response: Json) -> bytes | None:
    return site.redis.hget(keys_of(own(response)).state, "conversation")  # type: ignore[return-value]


@pytest.mark.parametrize("form", ["resp_{}", "{}"])
def test_newest_response_is_followed_by_the_next_turn_of_its_conversation(site: WebHarness, form: str) -> None:
    first = create(site, "one")
    stored(site, first, "1")
    name = form.format(own(first))
    second = create(site, "two", previous_response_id=name)
    assert second["previous_response_id"] == name
    assert conversation_of(site, second) == conversation_of(site, first)
    messages, conversation = asked(site, second)
    assert messages == ["u:two"]  # the worker adds the stored history
    assert conversation


def test_older_response_is_followed_by_a_branch_with_its_history(site: WebHarness) -> None:
    first = create(site, "one")
    stored(site, first, "1")
    second = create(site, "two", previous_response_id=first["id"])
    stored(site, second, "2")
    third = create(site, "three", previous_response_id=second["id"])
    stored(site, third, "3")
    branch = create(site, "other", previous_response_id=second["id"])
    assert asked(site, branch) == (["u:one", "a:1", "u:two", "a:2", "u:other"], "")
    site.redis.delete(keys_of(own(first)).state, keys_of(own(first)).log)
    from_stored = create(site, "again", previous_response_id=first["id"])
    assert asked(site, from_stored) == (["u:one", "a:1", "u:again"], "")


def test_stateless_response_is_followed_by_its_messages_and_its_answer(site: WebHarness) -> None:
    first = create(site, HISTORY)
    holding = site.hold(own(first))
    assert holding.question == ""
    site.write(holding, *answer_events("done"))
    second = create(site, "next", previous_response_id=first["id"])
    assert asked(site, second) == (["u:user", "a:assistant", "u:user", "a:done", "u:next"], "")


def test_unstored_response_and_several_messages_stand_alone_with_the_stored_history(site: WebHarness) -> None:
    first = create(site, "one")
    stored(site, first, "1")
    unstored = create(site, "two", previous_response_id=first["id"], store=False)
    assert asked(site, unstored) == (["u:one", "a:1", "u:two"], "")
    several = [{"role": role, "content": content} for role, content in (("user", "a"), ("user", "b"))]
    follow = create(site, several, previous_response_id=first["id"])
    assert asked(site, follow) == (["u:one", "a:1", "u:a\n\nb"], "")


def test_instructions_of_the_previous_response_are_not_carried_over(build: Any) -> None:
    site: WebHarness = build(allow_system=True)
    first = create(site, "one", instructions="Be brief.")
    stored(site, first, "1")
    second = create(site, "two", previous_response_id=first["id"])
    assert second["instructions"] is None
    assert site.hold(own(second)).request.system is None


@pytest.mark.parametrize("name", ["resp_unknown", "resp_" + "0" * 32, "x"])
def test_unknown_previous_response_is_an_error_in_the_protocol_s_words(site: WebHarness, name: str) -> None:
    answer = site.user.post(API, json={"input": "a", "previous_response_id": name})
    error = check_error(answer, 400, "previous_response_not_found", "previous_response_id")
    assert error["message"] == f"Previous response with id '{name}' not found."
    other = create(site, "one")
    foreign = site.stranger().post(API, json={"input": "a", "previous_response_id": other["id"]})
    check_error(foreign, 400, "previous_response_not_found", "previous_response_id")


def test_stateless_response_is_not_found_where_its_messages_are_not_kept(site: WebHarness) -> None:
    long = [{"role": "user", "content": "a" * 20_000}] * 2
    for history, fields in ((long, {}), ([*HISTORY], {"store": False})):
        first = create(site, history, **fields)
        site.write(site.hold(own(first)), *answer_events("done"))
        answer = site.user.post(API, json={"input": "a", "previous_response_id": first["id"]})
        error = check_error(answer, 400, "previous_response_not_found", "previous_response_id")
        assert "'input'" in error["message"]


def test_response_that_still_runs_cannot_be_followed(site: WebHarness) -> None:
    first = create(site, "one")
    answer = site.user.post(API, json={"input": "two", "previous_response_id": first["id"]})
    check_error(answer, 409, "conversation_busy")
    unstored = {"input": "two", "previous_response_id": first["id"], "store": False}
    check_error(site.user.post(API, json=unstored), 409, "response_in_progress", "previous_response_id")


def answer_events(text: str) -> tuple[AnyEvent, ...]:
    return Chunk(text), COMPLETE, Done("completed")
