"""The arguments of the console script `millrace-worker`."""

import os
import sys

import pytest

from millrace.worker import command
from millrace.worker.command import arguments_for

FIXED = [
    *("-m", "celery", "-A", "millrace.worker.app", "worker", "--pool", "gevent"),
    *("--without-gossip", "--without-mingle"),
]


def test_defaults_are_500_streams_and_the_info_log_level() -> None:
    assert arguments_for([]) == [*FIXED, "--concurrency", "500", "--loglevel", "INFO"]


def test_a_given_option_replaces_its_default() -> None:
    given = ["--loglevel", "DEBUG", "--concurrency", "8"]
    assert arguments_for(given) == [*FIXED, *given]


def test_an_option_given_with_an_equals_sign_replaces_its_default() -> None:
    assert arguments_for(["--concurrency=8"]) == [*FIXED, "--loglevel", "INFO", "--concurrency=8"]


def test_other_options_are_passed_on_after_the_defaults() -> None:
    given = ["-n", "worker1@%h", "--concurrency-like=1"]
    assert arguments_for(given) == [*FIXED, "--concurrency", "500", "--loglevel", "INFO", *given]


def test_the_process_is_replaced_by_python_with_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: executed.append((path, arguments)))
    monkeypatch.setattr(sys, "argv", ["millrace-worker", "--concurrency=8"])
    command.main()
    assert executed == [(sys.executable, [sys.executable, *arguments_for(["--concurrency=8"])])]
