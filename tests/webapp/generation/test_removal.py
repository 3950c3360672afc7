from typing import Any

import gevent
import pytest

from millrace.webapp.generation import removal
from millrace.webapp.guard.ownership import owned_by
from millrace.webapp.problems import Problem
from millrace.worker.contract.events import Cancelled, Chunk, Done, StatusEvent
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.state import GenerationState
from tests.webapp.facades.openai.responses.logs import stored
from tests.webapp.harness import USAGE, WebHarness
from tests.webapp.stored_turns import begin, messages_of

RUNNING = StatusEvent("running", 1, "asked-model", "bedrock")


def remove(site: WebHarness, generation: str) -> None:
    with site.app.test_request_context("/api/generations"):
        removal.remove_generation(state_of(site, generation))


def state_of(site: WebHarness, generation: str) -> GenerationState:
    return owned_by(site.owner(), generation)


def conversations_of(site: WebHarness) -> list[Any]:
    return site.user.get("/api/conversations").json["conversations"]  # type: ignore[index]


def test_only_answer_of_a_conversation_takes_the_conversation_with_it(site: WebHarness) -> None:
    receipt = begin(site)
    stored(site, receipt, "1")
    assert len(conversations_of(site)) == 1
    remove(site, receipt["id"])
    assert conversations_of(site) == []
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 404
    assert not site.redis.exists(keys_of(receipt["id"]).log)


def test_another_answer_to_the_question_and_the_other_turns_stay(site: WebHarness) -> None:
    receipt = begin(site)
    stored(site, receipt, "1")
    conversation = receipt["conversation_id"]
    retry = site.user.post(f"/api/conversations/{conversation}/messages/{receipt['message_id']}/retry", json={})
    stored(site, retry.json, "2")  # type: ignore[arg-type]
    remove(site, receipt["id"])
    assert [each["content"] for each in messages_of(site, conversation)["messages"]] == ["hello", "2"]


def test_queued_generation_is_removed_with_its_question(site: WebHarness) -> None:
    receipt = begin(site)
    remove(site, receipt["id"])
    assert conversations_of(site) == []
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 404


def test_running_generation_is_removed_once_its_worker_has_ended_it(site: WebHarness) -> None:
    receipt = begin(site)
    holding = site.hold(receipt["id"])
    site.write(holding, RUNNING, Chunk("He"))

    def end() -> None:
        with gevent.Timeout(30):
            while not site.redis.hget(keys_of(receipt["id"]).state, "cancel"):
                gevent.sleep(0.01)
        site.write(holding, Cancelled("user", USAGE), Done("cancelled"), after=3)

    worker = gevent.spawn(end)
    remove(site, receipt["id"])
    worker.get()
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 404
    assert conversations_of(site) == []


def test_generation_whose_worker_does_not_end_it_stays(site: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "CANCEL_SECONDS", 0.1)
    receipt = begin(site)
    site.write(site.hold(receipt["id"]), RUNNING)
    with pytest.raises(Problem) as caught:
        remove(site, receipt["id"])
    assert (caught.value.status, caught.value.retry_after) == (503, 2)
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 200
