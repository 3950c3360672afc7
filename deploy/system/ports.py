"""Ports of the loopback: check the port that a flag names, or find a free one."""

import errno
import random
import socket

from deploy.errors import StartError

HOST = "127.0.0.1"
# Below the range that systems use for outgoing connections: a child that is restarted finds its port free.
FREE = range(20_000, 32_000)
TRIES = 200


def claim(port: int, flag: str, taken: set[int]) -> int:
    """Return the port, or a free one for 0, and add it to `taken`.

    Raises StartError that names the port and the flag.
    """
    if not 0 <= port <= 65_535:
        raise StartError(f"{flag} takes a port from 0 to 65535, not {port}")
    if port == 0:
        port = _find_free(taken)
    elif port in taken:
        raise StartError(f"{flag} {port}: another flag names the same port")
    elif (obstacle := obstacle_to_listening(port)) is not None:
        raise StartError(f"port {port} {obstacle}; choose another one with {flag} N (0: a free one)")
    taken.add(port)
    return port


def obstacle_to_listening(port: int) -> str | None:
    """Return why no server can listen on the port now, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "is taken by another program"
            if error.errno == errno.EACCES:
                return "is reserved for the administrator"
            raise
    # macOS allows a bind to the loopback beside a server that listens on all addresses.
    return "is taken by another program" if is_open(port) else None


def is_open(port: int, seconds: float = 1.0) -> bool:
    """Return whether a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(seconds)
        return probe.connect_ex((HOST, port)) == 0


def _find_free(taken: set[int]) -> int:
    for _ in range(TRIES):
        port = random.SystemRandom().choice(FREE)
        if port not in taken and obstacle_to_listening(port) is None:
            return port
    raise StartError(f"no free port was found between {FREE.start} and {FREE.stop}")
