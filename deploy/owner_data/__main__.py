"""The commands as a program: `python -m deploy.owner_data`, which `deploy/data.py` starts in the environment."""

import argparse
import sys
from pathlib import Path

from deploy.owner_data.state_keys import StateKeys
from deploy.system.state_directory import StateDirectory
from millrace.webapp.owner_data.command import main as run

EPILOG = (
    "--state DIR names the state directory (.millrace). MILLRACE_DATABASE_URL and MILLRACE_REDIS_URL come first; "
    "without them, the database of the state directory is used, and the Redis of the system that runs there."
)


def main() -> int:
    """Run the command with the keys of the state directory; returns the exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("state", type=Path, help="the state directory")
    parser.add_argument("directory", type=Path, help="where the user has started the command")
    flags = parser.parse_args(sys.argv[1:3])
    keys = StateKeys(StateDirectory(flags.state))
    own = {"program": "deploy/data.py", "epilog": EPILOG}
    return run(sys.argv[3:], **own, directory=flags.directory, state_keys=keys)


if __name__ == "__main__":
    sys.exit(main())
