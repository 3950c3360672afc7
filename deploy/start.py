"""The command that starts everything: its flags, and which of its ways it goes."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.ask import ask
from deploy.environment import ensure
from deploy.genealogy import children_of
from deploy.installer import PipInstaller
from deploy.programs import ROLES
from deploy.refusal import Refusal
from deploy.running import run
from deploy.state import State
from deploy.topology import Options

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags; ends the process with words where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/run.py", description="Start Millrace on this machine; Ctrl-C stops it.", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, metavar="N", help="the page's port (8000; 0: a free one)")
    parser.add_argument(
        "--emulator-port", type=int, default=0, metavar="N", help="the local Bedrock endpoint's (a free one)"
    )
    parser.add_argument("--redis-port", type=int, default=0, metavar="N", help="Valkey's port (a free one)")
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".millrace", metavar="DIR", help="data and logs (.millrace)"
    )
    parser.add_argument("--web", type=_count, default=1, metavar="N", help="web processes (1)")
    parser.add_argument("--worker", type=_count, default=1, metavar="N", help="worker processes (1)")
    parser.add_argument("--aws", action="store_true", help="the real Bedrock; needs credentials and MILLRACE_MODEL_ID")
    parser.add_argument("--ask", metavar="QUESTION", help="stream one answer to the terminal and exit")
    parser.add_argument("--pids", action="store_true", help="tell the process ids of the running system, in JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the flags say; returns the exit code."""
    options = parse(arguments)
    state = State(options.state)
    try:
        if options.pids:
            return tell_pids(state)
        question: str | None = options.ask
        if question is not None and (running := state.running()) and running.is_ready:
            return ask(running.url, question)
        # With a question standard output is the answer's alone.
        say = _say if question is None else _say_aside
        python = ensure(ROOT, "run", PipInstaller(say), say)
        # Who only asks doesn't care for the port, so one that is taken is no obstacle.
        port = options.port if options.port is not None else (8000 if question is None else 0)
        flags = Options(port, options.emulator_port, options.redis_port, options.web, options.worker, options.aws)
        return run(flags, ROOT, python, state, say, question=question)
    except Refusal as refusal:
        print(f"Millrace does not start: {refusal}" if not options.pids else refusal, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def tell_pids(state: State) -> int:
    """Print the processes that do the work, by role; the web's are those that serve, below their arbiter."""
    record = state.running()
    if record is None:
        raise Refusal(f"nothing runs in {state.directory}")
    roles = {role: record.roles.get(role, []) for role in ROLES}
    print(json.dumps({**roles, "web": children_of(roles["web"])}))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _say_aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 64:
        raise argparse.ArgumentTypeError("takes a whole number from 1 to 64")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
