"""The limit of file descriptors decides whether a web process may start, and with how many connections."""

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from millrace.webapp import descriptors
from millrace.webapp.descriptors import connections
from millrace.worker.errors import SettingError
from tests.webapp.test_settings import GUNICORN, ROOT


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """Return a function that sets the soft and the hard limit, and collects the limits that are set."""

    def pretend(soft: int, hard: int) -> list[int]:
        chosen: list[int] = []
        monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, both: chosen.append(both[0]))
        return chosen

    return pretend


def test_soft_limit_is_raised_as_far_as_needed(limit: Callable[[int, int], list[int]]) -> None:
    chosen = limit(1024, resource.RLIM_INFINITY)
    assert connections(10_000, 500) == 11_500
    assert chosen == [21_600]


def test_connections_shrink_to_the_descriptors_that_are_left(limit: Callable[[int, int], list[int]]) -> None:
    assert limit(1024, 4096) == []
    assert connections(3000, 500) == 4096 - 3000 - descriptors.OWN_DESCRIPTORS


@pytest.mark.parametrize(("hard", "advice"), [(1024, "at most 224"), (256, r"256; raise the limit")])
def test_limit_that_is_too_low_for_the_readers_is_refused(
    limit: Callable[[int, int], list[int]], hard: int, advice: str
) -> None:
    limit(hard, hard)
    with pytest.raises(SettingError, match=rf"^MILLRACE_MAX_READERS: .*{advice}.*ulimit -n 10800"):
        connections(10_000, 500)


def test_gunicorn_does_not_start_with_too_few_descriptors() -> None:
    command = f"ulimit -n 256; MILLRACE_SECRET_KEY={'k' * 40} exec {sys.executable} {' '.join(GUNICORN)}"
    ended = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("millrace: MILLRACE_MAX_READERS: 10000 readers and ")
    assert "Traceback" not in ended.stderr
