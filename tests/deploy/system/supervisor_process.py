"""A supervisor of tiny programs in a process of its own.

    python -m tests.deploy.system.supervisor_process DIRECTORY [nohup]

DIRECTORY/programs.json holds `{name: {"role", "script", "grace", "heartbeat"}}`; the scripts are Python. A program with
a heartbeat is restarted when it has not written NAME.pulse for so many seconds. The living programs' ids are written to
pids.json, each program's output to NAME.log.
"""

import json
import os
import signal
import sys
from pathlib import Path

from deploy.errors import StopRequested
from deploy.system.orphan_reaper import OrphanReaper
from deploy.system.programs import HeartbeatFile, Program
from deploy.system.supervisor import IDLE_SECONDS, STOP_SIGNALS, SignalWakeup, Supervisor


def main(directory: Path, *, is_under_nohup: bool) -> None:
    """Keep the programs running until a stop is requested."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # a test run in the background or under nohup ignores some of them
    if is_under_nohup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reaper = OrphanReaper()
    with SignalWakeup() as wakeup:
        supervisor = Supervisor(wakeup, reaper, directory, lambda name: directory / f"{name}.log", print)

        def write_pids() -> None:
            draft = directory / "draft.json"
            draft.write_text(json.dumps({program.name: pid for program, pid in supervisor.processes()}))
            draft.replace(directory / "pids.json")

        idle = IDLE_SECONDS
        for name, each in json.loads((directory / "programs.json").read_text()).items():
            command = (sys.executable, "-u", "-c", each["script"])
            heartbeat = HeartbeatFile(directory / f"{name}.pulse", each["heartbeat"]) if each["heartbeat"] else None
            supervisor.start(Program(name, each["role"], command, os.environ, each["grace"], heartbeat))
            idle = 0.1 if heartbeat else idle
        supervisor.restarts = True
        supervisor.on_change = write_pids
        write_pids()
        try:
            while True:
                supervisor.step(idle)
        except StopRequested:
            supervisor.stop()
            reaper.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_under_nohup="nohup" in sys.argv[2:])
