"""The processes of one gunicorn find each other, whichever of them dies, hangs or is replaced."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from gevent import socket
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from millrace.webapp.siblings import Siblings, make_directory
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.test_gunicorn_config import serving


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short: it is a part of a Unix socket's address


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def join(directory: Path, stack: ExitStack, figure: int) -> Siblings:
    registry = CollectorRegistry()
    Gauge("figure", "A figure.", registry=registry).set(figure)
    siblings = Siblings(directory, lambda: {1: registry})
    siblings.start()
    stack.callback(siblings.stop)
    return siblings


def figures(siblings: Siblings, serial: int = 1) -> dict[str, float]:
    return {place: each[0].samples[0].value for place, each in siblings.collect(serial).metrics.items()}


def test_each_process_gets_the_metrics_of_the_others_by_their_places(directory: Path, stack: ExitStack) -> None:
    first, second, third = (join(directory, stack, figure) for figure in (10, 20, 30))
    assert [each.place for each in (first, second, third)] == ["0", "1", "2"]
    assert figures(first) == {"1": 20, "2": 30}
    assert figures(third) == {"0": 10, "1": 20}
    assert figures(first, serial=2) == {}, "a mount that only this process has"
    assert first.collect(1).silent == 0


def test_place_of_a_dead_process_is_taken_by_the_next(directory: Path, stack: ExitStack) -> None:
    first, second = join(directory, stack, 10), join(directory, stack, 20)
    first.stop()
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(directory / "0.sock"))  # as a killed process leaves it
    assert second.collect(1).metrics == {}
    assert second.collect(1).silent == 0
    replacement = join(directory, stack, 30)
    assert replacement.place == "0"
    assert figures(second) == {"0": 30}


def test_process_that_hangs_is_counted_as_silent(directory: Path, stack: ExitStack) -> None:
    alive = join(directory, stack, 10)
    hanging = stack.enter_context(socket.socket(socket.AF_UNIX))
    hanging.bind(str(directory / "7.sock"))
    hanging.listen()
    found = alive.collect(1)
    assert (found.metrics, found.silent) == ({}, 1)


def test_process_without_the_directory_is_alone(tmp_path: Path, stack: ExitStack) -> None:
    alone = join(tmp_path / "missing", stack, 10)
    assert alone.place == "0"
    assert alone.collect(1).metrics == {}


def test_directories_of_killed_gunicorns_are_removed_and_those_in_use_stay(
    directory: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    killed, in_use, new = (Path(tempfile.mkdtemp(prefix="millrace-web-")) for _ in range(3))
    (killed / "0.lock").touch()
    join(in_use, stack, 10)
    for each in (killed, in_use):
        os.utime(each, (0, 0))
    made = make_directory()
    assert {*directory.iterdir()} == {in_use, new, made}


def test_one_scrape_has_every_process_of_a_gunicorn(
    store: ValkeyProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(store.url, tmp_path / "log", "--workers", "2") as (process, port):

        def scrape() -> dict[tuple[str, str], float]:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30, trust_env=False).text
            return {
                (each.name, each.labels.get("process", each.labels.get("state", ""))): each.value
                for family in text_string_to_metric_families(text)
                for each in family.samples
                if each.name in ("millrace_readers", "millrace_web_processes", "process_start_time_seconds")
            }

        def has_both() -> dict[tuple[str, str], float]:
            found = scrape()
            return found if ("millrace_readers", "1") in found else {}

        before = wait_for(has_both, 20, "both processes")
        assert before["millrace_web_processes", "answering"] == 2
        assert before["millrace_web_processes", "silent"] == 0
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

        def is_replaced() -> bool:
            after = scrape()
            starts = {place for place in "01" if after.get(key := ("process_start_time_seconds", place)) == before[key]}
            return len(starts) == 1 and after["millrace_web_processes", "answering"] == 2

        wait_for(is_replaced, 20, "the next process in the same place")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    assert not list(tmp_path.glob("millrace-*")), "the directory is removed"
