"""The command that starts everything: its flags, and which of its modes they choose."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.environment import ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller
from deploy.page_assets import install_assets
from deploy.system.lifecycle import run
from deploy.system.probes import children_of
from deploy.system.programs import ROLES
from deploy.system.state_directory import StateDirectory
from deploy.system.terminal_reader import ask
from deploy.system.topology import DEFAULT_PROVIDERS, PROVIDERS, Options, child_environment, own_settings

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PORT = 8000


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags; exits with 2 and a message where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/run.py", description="Start Millrace on this machine; Ctrl-C stops it.", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, metavar="N", help=f"the page's port ({DEFAULT_PORT}; 0: a free one)")
    parser.add_argument("--emulator-port", type=int, default=0, metavar="N", help="the local endpoint's (a free one)")
    parser.add_argument("--redis-port", type=int, default=0, metavar="N", help="Valkey's port (a free one)")
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".millrace", metavar="DIR", help="data and logs (.millrace)"
    )
    parser.add_argument("--web", type=_process_count, default=1, metavar="N", help="web processes (1)")
    parser.add_argument("--worker", type=_process_count, default=1, metavar="N", help="worker processes (1)")
    parser.add_argument("--aws", action="store_true", help="the real Bedrock; needs credentials and MILLRACE_MODEL_ID")
    parser.add_argument(
        "--provider",
        type=_provider_names,
        metavar="NAME,…",
        help=f"what the local endpoint stands in for, in order, with commas: {', '.join(PROVIDERS)} (bedrock)",
    )
    parser.add_argument("--rlm", action="store_true", help="it also stands in for an upstream service, asked first")
    parser.add_argument("--ask", metavar="QUESTION", help="stream one answer to the terminal and exit")
    parser.add_argument("--check", action="store_true", help="check what a deployment needs, and say what to do")
    parser.add_argument("--url", default="", help="with --check: also check the public address, as a browser sees it")
    parser.add_argument(
        "--header", action="append", default=[], metavar="'NAME: VALUE'", help="with --url: a header of each request"
    )
    parser.add_argument("--json", action="store_true", help="with --check: print the findings as JSON")
    parser.add_argument("--pids", action="store_true", help="print the process ids of the running system, in JSON")
    flags = parser.parse_args(arguments)
    if flags.aws and (flags.provider or flags.rlm):
        parser.error("--aws asks the real Bedrock; --provider and --rlm are for the local endpoint")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mode that the flags choose; returns the exit code."""
    flags = parse(arguments)
    state = StateDirectory(flags.state)
    try:
        if flags.pids:
            return print_pids(state)
        question: str | None = flags.ask
        if question is not None and (running := state.running()) and running.is_ready:
            return ask(running.url, question)
        # With a question standard output holds nothing but the answer.
        print_line = _print_line if question is None else _print_to_stderr
        if flags.check:
            passed_on = [*(["--json"] if flags.json else []), *(["--url", flags.url] if flags.url else [])]
            passed_on += [f"--header={each}" for each in flags.header]
            return check(ensure(ROOT, "run", PipInstaller(_print_to_stderr), _print_to_stderr), state, passed_on)
        python = ensure(ROOT, "run", PipInstaller(print_line), print_line)
        if question is None:
            install_assets(ROOT, python, PipInstaller(print_line, "--retries", "1"), print_line)
        # With a question no one needs to know the port, so one that is taken is no obstacle.
        port = flags.port if flags.port is not None else (DEFAULT_PORT if question is None else 0)
        providers = (*(("rlm",) if flags.rlm else ()), *(flags.provider or DEFAULT_PROVIDERS))
        options = Options(port, flags.emulator_port, flags.redis_port, flags.web, flags.worker, flags.aws, providers)
        return run(options, ROOT, python, state, print_line, question=question)
    except StartError as error:
        print(f"Millrace does not start: {error}" if not flags.pids else error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def check(python: Path, state: StateDirectory, flags: Sequence[str]) -> int:
    """Run the doctor with its flags and return its exit code.

    It looks at the system that runs in the state directory; where none runs, at what this environment's settings name.
    """
    running = state.running()
    if running is None:
        _print_to_stderr(
            f"nothing runs in {state.path}; checking what this environment names. deploy/run.py starts all"
        )
        environment = dict(os.environ)
    else:
        _print_to_stderr(f"checking the system in {state.path} ({running.url})")
        own = own_settings(state, running.redis_url)
        environment = child_environment(os.environ, own, running.emulator_url, running.providers)
        environment["MILLRACE_REDIS_URL"] = running.redis_url
    command = [python, "-m", "deploy.doctor", *flags]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def print_pids(state: StateDirectory) -> int:
    """Print the processes that do the work, by role; the web's are those that serve, below their arbiter."""
    record = state.running()
    if record is None:
        raise StartError(f"nothing runs in {state.path}")
    roles = {role: record.roles.get(role, []) for role in ROLES}
    print(json.dumps({**roles, "web": children_of(roles["web"])}))
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)


def _print_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _provider_names(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(value.split(",")))
    if unknown := [name for name in names if name not in PROVIDERS]:
        raise argparse.ArgumentTypeError(
            f"knows no {unknown[0]!r}; takes {', '.join(PROVIDERS)}, or several with commas"
        )
    return names


def _process_count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 64:
        raise argparse.ArgumentTypeError("takes a whole number from 1 to 64")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
