"""Rows 17 and 26: both tiers are replaced, process by process, while two hundred answers stream."""

import signal
from pathlib import Path

from tests.client import wait_for
from tests.faults.conftest import ask
from tests.faults.follower import check
from tests.faults.rig import Rig

RUNNING = 200


def test_rows_17_and_26_a_rolling_restart_of_both_tiers_loses_no_character_and_shows_no_error(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2, webs=2, shutdown_grace_seconds=1, max_attempts=5) as rig:
        clients = [rig.client(number % 2) for number in range(20)]
        asked = [
            ask(rig, 28, rate=4, name=f"{chr(97 + n // 26)}{chr(97 + n % 26)}", client=clients[n % len(clients)])
            for n in range(RUNNING)
        ]
        wait_for(lambda: all(each.follower.text for each in asked), 60, "every first text")
        old = [*rig.workers, *rig.webs]
        for place in range(2):
            _replace_worker(rig, place)
            _replace_web(rig, place)
        assert not all(each.follower.is_done for each in asked), "the restart was over only when the answers were"

        for each in asked:
            assert check(each.follower, each.client, 90)["type"] == "complete"
            assert each.follower.text == each.text
            assert each.follower.refusals == [], each.follower.last_refusal
        assert not any(child.is_alive for child in old)
        assert any(len(rig.calls(each.message)) > 1 for each in asked), "answers were handed over"
        assert sum(each.follower.connections > 1 for each in asked) > RUNNING / 2, "readers were moved"


def _replace_worker(rig: Rig, place: int) -> None:
    """Terminate one worker while the other stays, and start it again as soon as it has exited."""
    rig.workers[place].signal(signal.SIGTERM)
    rig.workers[place].wait(20)
    rig.workers[place] = rig.workers[place].again()


def _replace_web(rig: Rig, place: int) -> None:
    """The same with a web, whose address stays."""
    rig.webs[place].signal(signal.SIGTERM)
    rig.webs[place].wait(20)
    rig.webs[place] = rig.webs[place].again()
    rig.await_ready(rig.urls[place])
