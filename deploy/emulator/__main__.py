"""Run the endpoint: `python -m deploy.emulator --host 127.0.0.1 --port 0`."""

import argparse
import asyncio
import resource
import signal

from deploy.emulator.connection import Connection
from deploy.emulator.service import Service

BACKLOG = 4096  # a thousand callers may arrive at once


async def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then cut every connection; prints the address once it can be reached."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = Service()
    living: set[Connection] = set()
    server = await loop.create_server(lambda: Connection(service.serve, living), host, port, backlog=BACKLOG)
    address = server.sockets[0].getsockname()
    print(f"emulator listening on http://{host}:{address[1]}", flush=True)
    await stop.wait()
    server.close()
    for connection in list(living):
        connection.abort()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m deploy.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a stream is a descriptor
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
