"""A pulse is missed after a silence, by a clock that every process of a machine shares."""

import time
from pathlib import Path

import pytest

from deploy.pulse import Pulse
from millrace.worker import pulse as workers


@pytest.mark.parametrize(
    ("said", "born", "is_missed"),
    [
        (-10, -100, False),
        (-31, -100, True),
        (-100, -10, False),  # the life before this one said so
        (None, -10, False),
        (None, -31, True),
        (1000, -10, False),  # before the machine's last start
        (1000, -31, True),
    ],
)
def test_it_is_missed_after_a_silence(tmp_path: Path, said: float | None, born: float, is_missed: bool) -> None:
    pulse, now = Pulse(tmp_path / "pulse", most_seconds=30), time.monotonic()
    if said is not None:
        pulse.path.write_text(f"{now + said}\n")
    assert pulse.is_missed(now + born) == is_missed


def test_what_is_no_number_is_no_pulse(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "pulse", most_seconds=30)
    pulse.path.write_text("")
    assert pulse.is_missed(time.monotonic() - 31)
    assert not pulse.is_missed(time.monotonic() - 29)


def test_it_is_what_a_worker_writes(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "pulse")
    assert pulse.is_missed(born=time.monotonic() - 100)
    workers.beat(pulse.path)
    assert not pulse.is_missed(born=time.monotonic() - 100)
    assert pulse.most_seconds == workers.MOST_SECONDS
