"""The command that exports what is stored of one owner, also while the system runs."""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.environment import ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller
from deploy.state_directory import StateDirectory
from deploy.topology import database_url

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags; exits with 2 and a message where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/data.py", description="What Millrace stores of one owner.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    export = commands.add_parser(
        "export",
        help="write what is stored of an owner as JSON",
        epilog="MILLRACE_DATABASE_URL names the database; without it, that of the state directory is read.",
        allow_abbrev=False,
    )
    export.add_argument("owner", metavar="OWNER", help="the user, as MILLRACE_AUTH identifies them")
    export.add_argument(
        "--state", type=Path, default=ROOT / ".millrace", metavar="DIR", help="the state directory (.millrace)"
    )
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file to write, instead of the terminal")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and start the program in it; returns the exit code."""
    flags = parse(arguments)
    try:
        python = ensure(ROOT, "run", PipInstaller(_print_note), _print_note)
    except StartError as error:
        print(f"Nothing was exported: {error}", file=sys.stderr)
        return 1
    state = StateDirectory(flags.state)
    output = ("--output", str(flags.output.absolute())) if flags.output else ()
    command = (str(python), "-m", "deploy.owner_data", "--state", str(state.path), *output, "--", flags.owner)
    return subprocess.run(command, cwd=ROOT, env=environment_of(os.environ, state), check=False).returncode


def environment_of(given: Mapping[str, str], state: StateDirectory) -> dict[str, str]:
    """Return the given environment; the state directory's database is used where it names none."""
    return {**given, "MILLRACE_DATABASE_URL": given.get("MILLRACE_DATABASE_URL") or database_url(state)}


def _print_note(line: str) -> None:
    """Print to standard error, so that standard output holds nothing but the export."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
