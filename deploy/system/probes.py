"""Probes of running processes: does a server answer, which children does a process have. Each has a time limit."""

import http.client
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from deploy.system.ports import HOST

ANSWER_SECONDS = 2.0
PS_SECONDS = 10.0


def valkey_answers(port: int, password: str = "") -> bool:
    """Return whether the server answers PING; one that still loads its data does not."""
    commands = [*([f"AUTH {password}"] if password else []), "PING"]
    try:
        with socket.create_connection((HOST, port), ANSWER_SECONDS) as connection, connection.makefile("rb") as replies:
            connection.sendall("".join(f"{each}\r\n" for each in commands).encode("ascii"))
            return [replies.readline(64) for _ in commands][-1].startswith(b"+PONG")
    except OSError:
        return False


def http_get(url: str, path: str) -> tuple[int, str]:
    """Return the status and text of a GET, or 0 and the error's text.

    Not urllib: a proxy from the environment must not come between this process and the loopback.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or HOST, parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(65_536).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def children_of(parents: list[int]) -> list[int]:
    """Return the ids of the living children of some processes, in ascending order."""
    return sorted(pid for pid, (parent, state) in _process_tree().items() if parent in parents and state != "Z")


def _process_tree() -> dict[int, tuple[int, str]]:
    """Return each process's parent and state letter, from `ps`, which only the smallest containers lack."""
    try:
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True, timeout=PS_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return _process_tree_from(Path("/proc"))
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid): (int(parent), state[0]) for pid, parent, state in (row[:3] for row in rows if len(row) >= 3)}


def _process_tree_from(directory: Path) -> dict[int, tuple[int, str]]:
    tree: dict[int, tuple[int, str]] = {}
    for path in directory.glob("[0-9]*/stat"):
        try:
            content = path.read_text("utf-8", "replace")
        except OSError:  # the process has ended meanwhile
            continue
        # The name, in parentheses, may itself hold blanks and parentheses.
        state, parent = content.rpartition(")")[2].split()[:2]
        tree[int(path.parent.name)] = (int(parent), state)
    return tree
