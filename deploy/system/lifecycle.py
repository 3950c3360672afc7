"""The life of one system: start its programs in order, wait until they are ready, keep them running, stop them."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.environment import PrintLine
from deploy.errors import ProgramExited, StartError, StopRequested
from deploy.migration import migrate
from deploy.system.orphan_reaper import OrphanReaper
from deploy.system.probes import http_get, valkey_answers
from deploy.system.programs import Program
from deploy.system.state_directory import StateDirectory, SystemRecord
from deploy.system.supervisor import SignalWakeup, Supervisor, pids_by_role
from deploy.system.terminal_reader import ask
from deploy.system.topology import Options, Topology, plan

AUTH_SETTING, DEFAULT_AUTH = "MILLRACE_AUTH", "session"
START_SECONDS = 90.0
POLL_SECONDS = 0.05  # between two probes of a starting program


def run(
    options: Options, root: Path, python: Path, state: StateDirectory, print_line: PrintLine, *, question: str | None
) -> int:
    """Run the system until a stop is requested, or, with a question, until it is answered; returns the exit code.

    Raises StartError when it can't start.
    """
    lock = state.claim()
    try:
        topology = plan(options, root, python, state)
        migrate(root, python, topology.web.environment)
        reaper = OrphanReaper(held_descriptors=[lock])
        with SignalWakeup() as wakeup:
            supervisor = Supervisor(wakeup, reaper, root, state.log_path, print_line)
            is_ready = False
            try:
                start_all(supervisor, topology, state, print_line)
                is_ready = True
                return keep_running(supervisor, wakeup, topology.url, question)
            except StopRequested:
                return 0 if is_ready and question is None else 130
            finally:
                print_line("stopping")
                supervisor.stop()
                reaper.close()
    finally:
        state.remove_record()
        os.close(lock)


def start_all(supervisor: Supervisor, topology: Topology, state: StateDirectory, print_line: PrintLine) -> None:
    """Start all programs and return when the page can be used; raises StartError with the log of the failed one."""

    def write_record(is_ready: bool) -> None:
        roles = {str(role): pids for role, pids in pids_by_role(supervisor.processes()).items()}
        urls = (topology.url, topology.redis_url, topology.emulator_url)
        state.write(SystemRecord(os.getpid(), *urls, is_ready, roles, list(topology.providers)))

    supervisor.on_change = lambda: write_record(is_ready=False)
    try:
        if topology.emulator:
            supervisor.start(topology.emulator)
        if topology.redis:
            supervisor.start(topology.redis)
            port, password = topology.redis_port, topology.redis_password
            print_line(f"waiting for Valkey on port {port}")
            _await(
                supervisor,
                lambda: "" if valkey_answers(port, password) else "no answer",
                topology.redis,
                state,
            )
        for worker in topology.workers:
            supervisor.start(worker)
        supervisor.start(topology.web)
        if topology.emulator:
            print_line(f"waiting for the local endpoint at {topology.emulator_url}")
            _await(supervisor, lambda: _http_obstacle(topology.emulator_url, "/_calls"), topology.emulator, state)
        print_line(f"waiting for web and worker (logs: {state.path / 'logs'})")
        _await(supervisor, lambda: _http_obstacle(topology.url, "/readyz"), topology.web, state)
    except ProgramExited as exited:
        raise StartError(_with_log(str(exited), exited.program, state, exited.log_offset)) from exited
    supervisor.restarts = True
    supervisor.on_change = lambda: write_record(is_ready=True)
    supervisor.on_change()
    print_line(f"Millrace is ready: {topology.url} ({describe_authentication(topology.web.environment)})")


def describe_authentication(environment: Mapping[str, str]) -> str:
    """Return the authentication method of a web process, for the line that says that it is ready."""
    method = environment.get(AUTH_SETTING) or DEFAULT_AUTH
    return f"{AUTH_SETTING}={method}" + (": open to anonymous visitors" if method == DEFAULT_AUTH else "")


def keep_running(supervisor: Supervisor, wakeup: SignalWakeup, url: str, question: str | None) -> int:
    """Keep the programs running until the question is answered, for ever without one; raises StopRequested."""
    codes: list[int] = []

    def ask_and_wake() -> None:
        try:
            codes.append(ask(url, question or ""))
        finally:
            ended.set()
            wakeup.wake()

    ended = threading.Event()
    if question is not None:
        threading.Thread(target=ask_and_wake, daemon=True).start()
    while not ended.is_set():
        supervisor.step()
    return codes[0] if codes else 1


def _await(supervisor: Supervisor, obstacle: Callable[[], str], program: Program, state: StateDirectory) -> None:
    """Step the supervisor until there is no obstacle any more; raises StartError after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while why := obstacle():
        if time.monotonic() > deadline:
            raise StartError(_with_log(f"{program.name} is not ready after {START_SECONDS:g} s: {why}", program, state))
        supervisor.step(POLL_SECONDS)


def _http_obstacle(url: str, path: str) -> str:
    status, text = http_get(url, path)
    return "" if status == 200 else f"{path} answers {status} {text}".strip()


def _with_log(message: str, program: Program, state: StateDirectory, offset: int = 0) -> str:
    path, lines = state.log_path(program.name), state.last_lines(program.name, offset)
    return f"{message}. The end of {path}:\n{lines}"
