"""A parent such as deploy/run.py for tiny programs: `python -m tests.deploy.keeper DIRECTORY`.

DIRECTORY/programs.json holds `{name: {"role", "script", "grace"}}`; the scripts are Python. It writes who lives to
pids.json, and each program's output to NAME.log.
"""

import json
import os
import sys
from pathlib import Path

from deploy.programs import Program
from deploy.reaper import Reaper
from deploy.supervisor import StopWanted, Supervisor
from deploy.wakeup import Wakeup


def main(directory: Path) -> None:
    """Keep the programs running until asked to stop."""
    reaper = Reaper()
    with Wakeup() as wakeup:
        supervisor = Supervisor(wakeup, reaper, directory, lambda name: directory / f"{name}.log", print)

        def note() -> None:
            draft = directory / "draft.json"
            draft.write_text(json.dumps({program.name: pid for program, pid in supervisor.processes()}))
            draft.replace(directory / "pids.json")

        for name, each in json.loads((directory / "programs.json").read_text()).items():
            command = (sys.executable, "-u", "-c", each["script"])
            supervisor.start(Program(name, each["role"], command, os.environ, each["grace"]))
        supervisor.restarts = True
        supervisor.changed = note
        note()
        try:
            while True:
                supervisor.step()
        except StopWanted:
            supervisor.stop()
            reaper.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
