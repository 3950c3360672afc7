"""Questions that tell whether a part of the system answers; none of them takes longer than its limit."""

import http.client
import socket
from urllib.parse import urlsplit

from deploy.ports import HOST

SECONDS = 2.0


def valkey_answers(port: int) -> bool:
    """Return whether the server answers PING; one that still loads its data does not."""
    try:
        with socket.create_connection((HOST, port), SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def look(url: str, path: str) -> tuple[int, str]:
    """Return the status and text of a GET, (0, why) where there is none.

    Not urllib: a proxy from the environment must not come between us and the loopback.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or HOST, parts.port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(65_536).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
