"""Whose child is whose: the serving processes below the one that was started."""

import subprocess
from pathlib import Path


def children_of(parents: list[int]) -> list[int]:
    """Return the living children of the processes, in order of their ids."""
    return sorted(pid for pid, (parent, state) in _processes().items() if parent in parents and state != "Z")


def _processes() -> dict[int, tuple[int, str]]:
    """Return each process's parent and state letter; by `ps`, which is everywhere but in the smallest containers."""
    try:
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return dict(_from_proc(Path("/proc")))
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid): (int(parent), state[0]) for pid, parent, state in (row[:3] for row in rows if len(row) >= 3)}


def _from_proc(directory: Path) -> list[tuple[int, tuple[int, str]]]:
    found: list[tuple[int, tuple[int, str]]] = []
    for path in directory.glob("[0-9]*/stat"):
        try:
            content = path.read_text("utf-8", "replace")
        except OSError:  # it ended meanwhile
            continue
        # The name, in parentheses, may hold blanks and parentheses itself.
        state, parent = content.rpartition(")")[2].split()[:2]
        found.append((int(path.parent.name), (int(parent), state)))
    return found
