"""The floor: a server that holds the readers' sockets and only sends. `python floor.py PORT`.

`GET /sN` holds a connection as a reader of stream N. `RUN {…}` has so many events sent within so many seconds, the
streams in turn, paced as the publisher paces them; a line answers when it is over.
"""

import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

TICK_SECONDS = 0.001
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n: \n\n\r\n"


def serve(port: int) -> None:
    """Accept readers; do what is said on the connection that commands."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    held: list[socket.socket] = []
    senders: dict[int, list[Callable[[bytes], int]]] = {}
    while True:
        connection, _ = listener.accept()
        request = connection.recv(65536)
        if not request:  # somebody who only looked whether we listen
            continue
        if request.startswith(b"RUN "):
            run(senders, json.loads(request[4:]))
            connection.sendall(b"over\n")
            connection.close()
            continue
        stream = int(request.split(b"/s", 1)[1].split(b" ")[0])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_HEAD)
        connection.setblocking(False)
        held.append(connection)
        senders.setdefault(stream, []).append(connection.send)


def run(senders: dict[int, list[Callable[[bytes], int]]], plan: dict[str, Any]) -> None:
    """Send; a frame is made once a tick and is the same for all who are due in it."""
    streams, total = plan["streams"], plan["events"]
    seconds_each = plan["seconds"] / total
    begun, sent = time.monotonic(), 0
    while sent < total:
        now = time.monotonic()
        due = min(total, int((now - begun) / seconds_each) + 1)
        if due > sent:
            body = plan["frame"].format(seq=10_000 + sent // streams, stamp=int(now * 1e6)).encode()
            frame = b"%X\r\n%b\r\n" % (len(body), body)
            for number in range(sent, due):
                for send in senders[number % streams]:
                    send(frame)
            sent = due
        time.sleep(max(begun + (int((now - begun) / TICK_SECONDS) + 1) * TICK_SECONDS - time.monotonic(), 0))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
