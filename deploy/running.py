"""From a plan to a running system, and to its end."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.ask import ask
from deploy.migrating import migrate
from deploy.programs import Program
from deploy.readiness import look, valkey_answers
from deploy.reaper import Reaper
from deploy.refusal import Refusal
from deploy.state import Record, State
from deploy.supervisor import Died, StopWanted, Supervisor, roles_of
from deploy.topology import Options, Topology, plan
from deploy.wakeup import Wakeup

START_SECONDS = 90.0
GLANCE_SECONDS = 0.05  # between two looks whether a part answers

Say = Callable[[str], None]


def run(options: Options, root: Path, python: Path, state: State, say: Say, *, question: str | None) -> int:
    """Run the system until it is asked to stop, or, with a question, until that is answered; returns the exit code.

    Raises Refusal when it can't start.
    """
    lock = state.claim()
    try:
        topology = plan(options, root, python, state)
        migrate(root, python, topology.web.environment)
        reaper = Reaper(hold=[lock])
        with Wakeup() as wakeup:
            supervisor = Supervisor(wakeup, reaper, root, state.log, say)
            is_ready = False
            try:
                bring_up(supervisor, topology, state, say)
                is_ready = True
                return hold_up(supervisor, wakeup, topology.url, question)
            except StopWanted:
                return 0 if is_ready and question is None else 130
            finally:
                say("stopping")
                supervisor.stop()
                reaper.close()
    finally:
        state.forget()
        os.close(lock)


def bring_up(supervisor: Supervisor, topology: Topology, state: State, say: Say) -> None:
    """Start all programs and return when the page can be used; raises Refusal with the log of what failed."""
    record = Record(os.getpid(), topology.url, topology.redis_url, topology.emulator_url)

    def note(is_ready: bool) -> None:
        roles = {str(role): pids for role, pids in roles_of(supervisor.processes()).items()}
        state.write(Record(record.pid, record.url, record.redis_url, record.emulator_url, is_ready, roles))

    supervisor.changed = lambda: note(is_ready=False)
    try:
        if topology.emulator:
            supervisor.start(topology.emulator)
        if topology.redis:
            supervisor.start(topology.redis)
            port = topology.redis_port
            say(f"waiting for Valkey on port {port}")
            _await(supervisor, lambda: "" if valkey_answers(port) else "no answer", topology.redis, state)
        for worker in topology.workers:
            supervisor.start(worker)
        supervisor.start(topology.web)
        if topology.emulator:
            say(f"waiting for the local Bedrock endpoint at {topology.emulator_url}")
            _await(supervisor, lambda: _objection(topology.emulator_url, "/_calls"), topology.emulator, state)
        say(f"waiting for web and worker (logs: {state.directory / 'logs'})")
        _await(supervisor, lambda: _objection(topology.url, "/readyz"), topology.web, state)
    except Died as death:
        name = death.program.name
        raise Refusal(f"{death}. The end of {state.log(name)}:\n{state.last_lines(name, death.log_offset)}") from death
    supervisor.restarts = True
    supervisor.changed = lambda: note(is_ready=True)
    supervisor.changed()
    say(f"Millrace is ready: {topology.url}")


def hold_up(supervisor: Supervisor, wakeup: Wakeup, url: str, question: str | None) -> int:
    """Keep the system up until the question is answered, for ever without one; raises StopWanted."""
    codes: list[int] = []

    def put() -> None:
        try:
            codes.append(ask(url, question or ""))
        finally:
            ended.set()
            wakeup.wake()

    ended = threading.Event()
    if question is not None:
        threading.Thread(target=put, daemon=True).start()
    while not ended.is_set():
        supervisor.step()
    return codes[0] if codes else 1


def _await(supervisor: Supervisor, objection: Callable[[], str], program: Program, state: State) -> None:
    """Wait until there is no objection any more, while the supervisor does its work."""
    deadline = time.monotonic() + START_SECONDS
    while why := objection():
        if time.monotonic() > deadline:
            name = program.name
            raise Refusal(
                f"{name} is not ready after {START_SECONDS:g} s: {why}\n"
                f"The end of {state.log(name)}:\n{state.last_lines(name)}"
            )
        supervisor.step(GLANCE_SECONDS)


def _objection(url: str, path: str) -> str:
    status, text = look(url, path)
    return "" if status == 200 else f"{path} answers {status} {text}".strip()
