"""A parent such as deploy/run.py for tiny programs: `python -m tests.deploy.keeper DIRECTORY`.

DIRECTORY/programs.json holds `{name: {"role", "script", "grace", "pulse"}}`; the scripts are Python. One with a pulse
is started anew when it has not written it to NAME.pulse for so many seconds. Who lives is written to pids.json, each
program's output to NAME.log.
"""

import json
import os
import sys
from pathlib import Path

from deploy.programs import Program
from deploy.pulse import Pulse
from deploy.reaper import Reaper
from deploy.supervisor import IDLE_SECONDS, StopWanted, Supervisor
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

        idle = IDLE_SECONDS
        for name, each in json.loads((directory / "programs.json").read_text()).items():
            command = (sys.executable, "-u", "-c", each["script"])
            pulse = Pulse(directory / f"{name}.pulse", each["pulse"]) if each["pulse"] else None
            supervisor.start(Program(name, each["role"], command, os.environ, each["grace"], pulse))
            idle = 0.1 if pulse else idle
        supervisor.restarts = True
        supervisor.changed = note
        note()
        try:
            while True:
                supervisor.step(idle)
        except StopWanted:
            supervisor.stop()
            reaper.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
