"""Row 39, and row 13 between the outcome and `done`: hooks after an answer delay nothing."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import wait_for
from tests.faults.conftest import StartedGeneration, ask
from tests.faults.follower import check
from tests.faults.rig import Rig

NAMING, SUGGESTING, LEARNING = "name_conversation", "suggest_questions", "remember_facts"
HANGS: dict[str, Any] = {"first_delay": 600}
FAILS: dict[str, Any] = {"fault": "throttle"}
BREAKS: dict[str, Any] = {"fault": "corrupt"}
LIES: dict[str, Any] = {"tool": {"input": {"title": 5, "suggestions": "none"}}}


def followed(asked: StartedGeneration) -> list[str]:
    """Return the types of the events after the outcome."""
    kinds = [str(each.event["type"]) for each in asked.follower.received]
    return kinds[kinds.index("complete") + 1 :]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("following"), titles=1, suggestions=1, learning=1) as rig:
        yield rig


@pytest.mark.parametrize("bad", [HANGS, FAILS, BREAKS, LIES], ids=["hangs", "fails", "breaks", "lies"])
def test_row_39_a_hook_that_raises_or_hangs_does_not_delay_done(rig: Rig, bad: dict[str, Any]) -> None:
    logged = rig.workers[0].log.stat().st_size
    one, both = (
        ask(rig, 0.5, name=name, forced=dict.fromkeys(tools, bad))
        for name, tools in (("a", [NAMING]), ("b", [NAMING, SUGGESTING, LEARNING]))
    )
    for asked in (one, both):
        assert check(asked.follower, asked.client, 15)["type"] == "complete"
    assert followed(one) == ["suggestions", "done"]
    assert followed(both) == ["done"]
    waited = [_between_outcome_and_done(asked) for asked in (one, both)]
    assert max(waited) < 10  # the cap of 3 s, and what a busy machine adds
    assert b"Traceback" not in rig.workers[0].log.read_bytes()[logged:] or bad is LIES


def _between_outcome_and_done(asked: StartedGeneration) -> float:
    (outcome,) = [each for each in asked.follower.received if each.event["type"] == "complete"]
    return asked.follower.received[-1].at - outcome.at


def test_row_13_after_a_worker_is_killed_during_the_title_only_done_is_added(tmp_path: Path) -> None:
    with Rig(tmp_path, titles=1, suggestions=1, after_seconds=60, lease_seconds=2) as rig:
        asked = ask(rig, 0.5, forced={NAMING: HANGS})
        wait_for(lambda: asked.follower.of_type("suggestions"), 30, "the suggestions")
        rig.workers[0].signal(signal.SIGKILL)
        rig.start_worker()
        assert check(asked.follower, asked.client, 30)["type"] == "complete"
        assert followed(asked) == ["suggestions", "done"]
        assert len(rig.calls(asked.message)) == 1


def test_row_17_a_worker_terminated_during_the_title_appends_done_and_exits(tmp_path: Path) -> None:
    with Rig(tmp_path, titles=1, after_seconds=60, shutdown_grace_seconds=1) as rig:
        asked = ask(rig, 0.5, forced={NAMING: HANGS})
        wait_for(lambda: asked.follower.of_type("complete"), 30, "the outcome")
        rig.workers[0].signal(signal.SIGTERM)
        assert check(asked.follower, asked.client, 10)["type"] == "complete"
        assert followed(asked) == ["done"]
        assert rig.workers[0].wait(30) == 0
