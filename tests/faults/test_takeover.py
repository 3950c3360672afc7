"""Rows 13 and 17 with MILLRACE_TAKEOVER=continue: the next attempt continues a lost worker's text."""

import signal
from pathlib import Path

from tests.client import Client, Json, emulate, wait_for
from tests.faults.conftest import StartedGeneration, ask, words
from tests.faults.follower import Follower, check
from tests.faults.rig import Rig

NO_PREFILL = "a.no-prefill-model"


def test_row_13_with_takeover_continue_the_answer_of_a_killed_worker_continues(tmp_path: Path) -> None:
    with Rig(tmp_path, takeover="continue") as rig:
        asked = ask(rig, 6)
        wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
        rig.workers[0].signal(signal.SIGKILL)
        rig.start_worker()
        assert check(asked.follower, asked.client)["type"] == "complete"
        _check_continued(rig, asked)


def test_row_13_with_takeover_continue_a_model_without_prefill_restarts_the_answer(tmp_path: Path) -> None:
    with Rig(tmp_path, takeover="continue", allowed_models=NO_PREFILL) as rig:
        asked = _ask_model(rig, NO_PREFILL)
        wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
        rig.workers[0].signal(signal.SIGKILL)
        rig.start_worker()
        assert check(asked.follower, asked.client)["type"] == "complete"
        snapshots = asked.follower.of_type("snapshot")
        assert [(each["reason"], bool(each["content"])) for each in snapshots] == [
            ("takeover", True),
            ("takeover", False),
        ]
        assert asked.follower.text == asked.text
        assert _rest(asked.follower) == asked.text
        assert rig.workers[1].logged("answer_restarted", generation=asked.generation)
        assert [_prefill_of(call) for call in rig.emulator.calls()] == [None, None]  # what it refused is not listed


def test_row_17_with_takeover_continue_the_answers_of_a_terminated_worker_continue(tmp_path: Path) -> None:
    with Rig(tmp_path, takeover="continue", shutdown_grace_seconds=0) as rig:
        client = rig.client()
        # The first call of each stalls, so that none has ended when the second worker is ready.
        stall = {"fault": "stall", "at": 20, "times": 1}
        running = [ask(rig, 4, rate=20, name=name, client=client, **stall) for name in "abcde"]
        wait_for(lambda: all(len(each.follower.text) > 50 for each in running), 30, "some text of each")
        rig.start_worker()
        wait_for(lambda: "ready" in rig.workers[1].log.read_text(), 40, "the second worker")
        rig.workers[0].signal(signal.SIGTERM)
        assert rig.workers[0].wait(30) == 0
        for each in running:
            assert check(each.follower, client)["type"] == "complete"
            _check_continued(rig, each)


def _check_continued(rig: Rig, asked: StartedGeneration) -> None:
    """Assert that the model was given the snapshot's very text, that only the rest came after it, and nothing twice."""
    (snapshot,) = asked.follower.of_type("snapshot")
    assert snapshot["reason"] == "takeover"
    assert snapshot["content"] == snapshot["content"].rstrip() != ""
    assert snapshot["content"] + _rest(asked.follower) == asked.follower.text == asked.text
    calls = [call for call in rig.emulator.calls() if call["messages"][0]["content"] == [{"text": asked.message}]]
    assert [_prefill_of(call) for call in calls] == [None, snapshot["content"]]
    assert calls[0]["ended"] == "closed_by_client"


def _rest(follower: Follower) -> str:
    """Return what came in chunks after the last snapshot."""
    last = max(n for n, each in enumerate(follower.received) if each.event["type"] == "snapshot")
    return "".join(each.event["content"] for each in follower.received[last:] if each.event["type"] == "chunk")


def _prefill_of(call: Json) -> str | None:
    last = call["messages"][-1]
    return str(last["content"][0]["text"]) if last["role"] == "assistant" else None


def _ask_model(rig: Rig, model: str) -> StartedGeneration:
    client: Client = rig.client()
    text, count = words(6)
    message = emulate(text=text, tokens=count, rate=40)
    generation = client.ask(message, model=model)
    return StartedGeneration(
        message, generation, text, client, Follower(rig.urls, client.http.cookies, generation, text)
    )
