"""The start of a system from a plan of tiny programs, and its failures."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.system import lifecycle
from deploy.system.lifecycle import describe_authentication, keep_running, start_all
from deploy.system.orphan_reaper import OrphanReaper
from deploy.system.ports import claim
from deploy.system.programs import Program, Role
from deploy.system.state_directory import StateDirectory
from deploy.system.supervisor import SignalWakeup, Supervisor
from deploy.system.topology import Topology
from tests.deploy.system.supervised import SLEEPS

SERVES = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status}); self.end_headers(); self.wfile.write(b"checks: {status}")
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


def program(name: str, role: Role, script: str) -> Program:
    return Program(name, role, (sys.executable, "-u", "-c", script), os.environ, grace_seconds=1.0)


def plan_of(worker: str, status: int = 200) -> Topology:
    port = claim(0, "--port", set())
    return Topology(
        web=program("web", "web", SERVES.format(status=status, port=port)),
        workers=(program("worker1", "worker", worker),),
        redis=None,
        emulator=None,
        url=f"http://127.0.0.1:{port}",
        redis_url="redis://elsewhere",
        redis_port=0,
        emulator_url="",
    )


@contextmanager
def supervisor_in(state: StateDirectory) -> Generator[tuple[Supervisor, SignalWakeup]]:
    lock, reaper = state.claim(), OrphanReaper()
    with SignalWakeup() as wakeup:
        supervisor = Supervisor(wakeup, reaper, state.path, state.log_path, lambda line: None)
        try:
            yield supervisor, wakeup
        finally:
            supervisor.stop()
            reaper.close()
    os.close(lock)


def test_ready_line_and_record_follow_when_the_web_answers(tmp_path: Path) -> None:
    state, topology, printed = StateDirectory(tmp_path), plan_of(SLEEPS), list[str]()
    with supervisor_in(state) as (supervisor, _):
        start_all(supervisor, topology, state, printed.append)
        assert printed[-1] == f"Millrace is ready: {topology.url} (MILLRACE_AUTH=session: open to anonymous visitors)"
        record = state.running()
        assert record
        assert record.is_ready
        assert {role: len(pids) for role, pids in record.roles.items()} == {"web": 1, "worker": 1}
        assert supervisor.restarts


def test_ready_line_names_the_authentication_method() -> None:
    assert describe_authentication({"MILLRACE_AUTH": "jwt"}) == "MILLRACE_AUTH=jwt"
    for environment in ({}, {"MILLRACE_AUTH": ""}, {"MILLRACE_AUTH": "session"}):
        assert describe_authentication(environment) == "MILLRACE_AUTH=session: open to anonymous visitors"


def test_program_that_exits_during_the_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    topology = plan_of("print('no such module'); raise SystemExit(3)", status=503)
    with (
        supervisor_in(state) as (supervisor, _),
        pytest.raises(StartError, match=r"(?s)worker1 exited with code 3\. The end of .*worker1\.log:.*no such module"),
    ):
        start_all(supervisor, topology, state, lambda line: None)


def test_program_that_does_not_become_ready_is_reported_with_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "START_SECONDS", 2.0)
    state = StateDirectory(tmp_path)
    with (
        supervisor_in(state) as (supervisor, _),
        pytest.raises(StartError, match=r"web is not ready after 2 s: /readyz answers 503 checks: 503"),
    ):
        start_all(supervisor, plan_of(SLEEPS, status=503), state, lambda line: None)


def test_question_without_an_answer_ends_the_system_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, topology = StateDirectory(tmp_path), plan_of(SLEEPS)
    with supervisor_in(state) as (supervisor, wakeup):
        start_all(supervisor, topology, state, lambda line: None)
        assert keep_running(supervisor, wakeup, topology.url, "why?") == 1
    assert "not complete" in capsys.readouterr().err
