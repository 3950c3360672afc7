"""The cost of a process tree so far, as the kernel counts it: a process and all its living descendants."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """CPU in seconds (user and system), resident memory in KB, open descriptors."""

    cpu: float
    resident_kb: int
    descriptors: int


def tree(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    found = [pid]
    for each in found:
        try:
            threads = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except FileNotFoundError:
            continue  # it has just ended
    return found


def cost(pid: int) -> Cost:
    """Return what the tree below this process has cost; an ended child counts with the parent that reaped it."""
    cpu = resident = descriptors = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
            status = Path(f"/proc/{each}/status").read_text()
            descriptors += len(os.listdir(f"/proc/{each}/fd"))
        except FileNotFoundError:
            continue
        cpu += sum(map(int, fields[11:15]))  # utime, stime, and those of children that were waited for
        resident += int(status.partition("VmRSS:")[2].split()[0])
    return Cost(cpu / _TICKS, resident, descriptors)


def pin(pid: int, *, is_server: bool = False) -> None:
    """Give the server under test the first core for itself, and Redis and the load the others; one core is shared."""
    cores = sorted(os.sched_getaffinity(0))
    wanted = cores[:1] if is_server or len(cores) == 1 else cores[1:]
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), wanted)
