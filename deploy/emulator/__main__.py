"""Run the local endpoint: `python -m deploy.emulator --host 127.0.0.1 --port 0`."""

import argparse
import asyncio
import resource
import signal

from deploy.emulator.anthropic.wire import EmulatedAnthropic
from deploy.emulator.bedrock.wire import EmulatedBedrock
from deploy.emulator.endpoint import EmulatorEndpoint
from deploy.emulator.gemini.wire import EmulatedGemini
from deploy.emulator.http_connection import HttpConnection
from deploy.emulator.openai.wire import EmulatedOpenAI
from deploy.emulator.rlm.wire import EmulatedRlm
from deploy.emulator.wire import EmulatedWire

# Bedrock is the last, because it answers on every path that no other wire serves.
WIRES: list[EmulatedWire] = [
    *(EmulatedGemini(), EmulatedOpenAI()),  # in this order: both serve /v1/models/…, Google's with a verb at its end
    *(EmulatedAnthropic(), EmulatedRlm()),
    EmulatedBedrock(),
]
BACKLOG = 4096  # a thousand clients may connect at once


async def serve(host: str, port: int) -> None:
    """Print the address, serve until SIGTERM or SIGINT, then close every connection at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    endpoint = EmulatorEndpoint(WIRES)
    open_connections: set[HttpConnection] = set()
    server = await loop.create_server(lambda: HttpConnection(endpoint, open_connections), host, port, backlog=BACKLOG)
    address = server.sockets[0].getsockname()
    print(f"emulator listening on http://{host}:{address[1]}", flush=True)
    await stop.wait()
    server.close()
    for connection in list(open_connections):
        connection.abort()


def main() -> None:
    """Parse the command line, raise the limit of open files and serve."""
    parser = argparse.ArgumentParser(prog="python -m deploy.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one (default)")
    arguments = parser.parse_args()
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))  # each stream holds a file descriptor
    asyncio.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
