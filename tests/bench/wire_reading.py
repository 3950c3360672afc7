"""Streams of one provider at once, read in a process of their own, whose CPU is that of their deltas.

The process has been patched by gevent; its arguments are READER URL ANSWERS MESSAGE.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator

import gevent

Read = Callable[[str], Iterator[str]]
"""Yields the texts of an answer to this message."""

MakeReader = Callable[[str, int], Read]
"""Returns a reader of the endpoint at a URL, for so many answers at once."""


def measure(readers: dict[str, MakeReader]) -> None:
    """Read all answers at once, as the command line says; print the deltas and their CPU after all have begun."""
    reader, url, answers, message = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    read = readers[reader](url, answers)
    begun, deltas = 0, 0
    cpu = 0.0

    def run() -> None:
        nonlocal begun, deltas, cpu
        for number, _ in enumerate(read(message)):
            deltas += 1
            if not number:
                begun += 1
                if begun == answers:
                    cpu, deltas = time.process_time(), 0

    gevent.joinall([gevent.spawn(run) for _ in range(answers)], raise_error=True)
    print(json.dumps({"cpu": time.process_time() - cpu, "deltas": deltas}))
