"""The command that exports or deletes what is stored of one owner, also while the system runs.

All but the state directory is left to the program in the environment, which has the database's driver.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.environment import ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller
from deploy.system.state_directory import StateDirectory
from deploy.system.topology import database_url

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the state directory that the flags name, and all other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--state", type=Path, default=ROOT / ".millrace")
    own, after = (arguments, ()) if "--" not in arguments else _split(arguments)
    flags, others = parser.parse_known_args(own)
    return flags.state, [*others, *after]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and start the program in it; returns the exit code."""
    path, others = parse(sys.argv[1:] if arguments is None else arguments)
    state = StateDirectory(path)
    try:
        python = ensure(ROOT, "run", PipInstaller(_print_note), _print_note)
        environment = environment_of(os.environ, state, needs_redis="delete" in others[:1])
    except StartError as error:
        print(f"Nothing was done: {error}", file=sys.stderr)
        return 1
    command = (str(python), "-m", "deploy.owner_data", str(state.path), str(Path.cwd()), *others)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def environment_of(given: Mapping[str, str], state: StateDirectory, *, needs_redis: bool = False) -> dict[str, str]:
    """Return the given environment, completed by the database of the state directory and its system's Redis.

    Raises StartError where a Redis is needed and none is known.
    """
    own = {"MILLRACE_DATABASE_URL": database_url(state)}
    if running := state.running():
        own["MILLRACE_REDIS_URL"] = running.redis_url
    environment = {**given, **{name: value for name, value in own.items() if not given.get(name)}}
    if needs_redis and not environment.get("MILLRACE_REDIS_URL"):
        raise StartError(
            f"nothing runs in {state.path}, so there is no Redis from which to delete; start the system with "
            "deploy/run.py, or name the Redis with MILLRACE_REDIS_URL"
        )
    return environment


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the arguments before the first `--`, and the others with it."""
    place = list(arguments).index("--")
    return arguments[:place], arguments[place:]


def _print_note(line: str) -> None:
    """Print to standard error, so that standard output holds nothing but the export."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
