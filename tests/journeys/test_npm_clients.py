"""Clients of other authors, from their npm packages: each gets every event once, although its connection is cut."""

import json
from contextlib import ExitStack

from tests.client import Client, emulate
from tests.journeys.cutting_proxy import CuttingProxy
from tests.journeys.npm_packages import NpmPackages, result_of

CLIENTS = ("polyfill", "fetch", "eventsource2", "eventsource")


def test_each_event_arrives_once_although_the_connection_is_cut_before_and_in_an_id(
    client: Client, system_url: str, npm_packages: NpmPackages
) -> None:
    generation = client.ask(emulate(text="one two three four five", chars=4, rate=20))
    events = client.whole(generation)
    expected = [[each.cursor, each.event["type"], each.event.get("content", "")] for each in events]
    first, second, *_ = [each for each in events if each.event["type"] == "chunk"]
    # Some clients take an id as soon as its line is complete. A cut between data and id must not lose the data.
    data = json.dumps(first.event, separators=(",", ":"))
    cuts = {0: f"{data}\n".encode(), 1: f"\nid: {second.cursor[:-1]}".encode()}
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    with ExitStack() as stack:
        proxies = {name: stack.enter_context(CuttingProxy(system_url, cuts.get)) for name in CLIENTS}
        running = {
            name: npm_packages.start("clients.mjs", name, f"{proxy.url}/api/generations/{generation}/events", cookie)
            for name, proxy in proxies.items()
        }
        for each in running.values():
            stack.callback(each.kill)
        found = {name: result_of(each) for name, each in running.items()}
        assert {name: proxy.cut for name, proxy in proxies.items()} == dict.fromkeys(CLIENTS, len(cuts))
    for name, events in found.items():
        assert events == expected, name
