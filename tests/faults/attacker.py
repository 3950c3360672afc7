"""Attacks, each from one address, with several clients at once: `python -m tests.faults.attacker URL`.

Each line of its input, `ATTACK ADDRESS`, begins one. It prints a line when the first requests have been answered,
attacks until it gets SIGUSR1, and then prints how often each status was the response, as JSON. A process of its own, so
that it takes no time from the user who is measured.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx

from tests.client import emulate

CLIENTS = 4
LONG = emulate(tokens=2000, rate=20)
MARKS = "\u0301\u0323" * 15_900

Attack = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def new_owners(client: httpx.AsyncClient) -> httpx.Response:
    client.cookies.clear()
    return await client.post("/api/generations", json={"message": LONG})


async def waiting_requests(client: httpx.AsyncClient) -> httpx.Response:
    client.cookies.clear()
    with suppress(httpx.TimeoutException):
        return await client.post("/api/generations", json={"message": LONG, "stream": False}, timeout=0.5)
    return httpx.Response(200)


async def long_histories(client: httpx.AsyncClient) -> httpx.Response:
    text = "\U0001f600" * 25_000
    turns = [{"role": role, "content": text} for _ in range(4) for role in ("user", "assistant")]
    body = {"messages": [*turns, {"role": "user", "content": LONG}]}
    return await client.post("/api/generations", content=json.dumps(body, ensure_ascii=False).encode())


async def combining_marks(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/api/generations", json={"message": MARKS, "search": "auto"})


async def reads_and_writes(client: httpx.AsyncClient) -> httpx.Response:
    await client.put("/api/profile", json={"about": "x" * 4000})
    return await client.get("/api/conversations?limit=100")


async def unread_streams(client: httpx.AsyncClient) -> httpx.Response:
    """Follow everything asked so far and read nothing; the connection stays open until the attack ends."""
    made = await client.post("/api/generations", json={"message": LONG})
    if made.status_code == 202:
        _asked.setdefault(client, []).append(made.json()["id"])
    follow = "&".join(f"follow={each}" for each in _asked.get(client, ()))
    return await client.send(client.build_request("GET", f"/api/events?feed=1&{follow}"), stream=True)


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (new_owners, waiting_requests, long_histories, combining_marks, reads_and_writes, unread_streams)
}
_asked: dict[httpx.AsyncClient, list[str]] = {}


async def attack(name: str, url: str, address: str) -> None:
    """Repeat the attack until SIGUSR1."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, ended.set)
    statuses: Counter[int] = Counter()
    clients = [
        httpx.AsyncClient(
            base_url=url,
            transport=httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=200)),
            headers={"Content-Type": "application/json"},
            timeout=20,
        )
        for _ in range(CLIENTS)
    ]

    async def repeat(client: httpx.AsyncClient) -> None:
        while True:
            try:
                statuses[(await ATTACKS[name](client)).status_code] += 1
            except httpx.HTTPError:
                statuses[0] += 1
            if statuses.total() == CLIENTS:
                print("attacking", flush=True)

    tasks = [asyncio.create_task(repeat(client)) for client in clients]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    for line in sys.stdin:
        asyncio.run(attack(line.split()[0], sys.argv[1], line.split()[1]))
