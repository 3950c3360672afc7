"""Export or delete what is stored of an owner: `python3 deploy/data.py --help` lists the commands.

This file must parse on every Python 3, so that an old one can report that a newer one is needed.
The command itself is in data_command.py.
"""

import runpy
import sys
from pathlib import Path

OLDEST = (3, 11)

if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit("Millrace needs Python 3.11 or newer; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("deploy.data_command", run_name="__main__", alter_sys=True)
