"""The relay's counts agree with what its readers get, however they are served."""

from collections.abc import Callable
from typing import Any

from tests.client import wait_for
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer


def gained(server: RelayServer, before: dict[str, Any]) -> dict[str, Any]:
    after = server.statistics()["counts"]
    return {name: after[name] - before[name] for name in after if isinstance(after[name], int)}


def test_events_and_bytes_are_counted_once_for_each_reader(
    server: RelayServer, make_writer: Callable[[], LogWriter]
) -> None:
    writer, unwatched = make_writer(), make_writer()
    before = server.statistics()["counts"]
    taken, yielded = (server.follow(writer.generation, version=f"HTTP/1.{number}") for number in (1, 0))
    for stream in (taken, yielded):
        stream.events(1)
    with server.follow(unwatched.generation) as left:
        left.events(1)
    server.wait_for_readers(2)
    writer.chunks(*"abc")
    for stream in (taken, yielded):
        stream.events(4)
    unwatched.chunks("nobody reads this")
    resumed = server.follow(writer.generation, str(writer.last))
    writer.chunks("d" * 1000)
    resumed.events(1)
    writer.end()
    received = [stream.rest() for stream in (taken, yielded, resumed)]
    assert [len(each) for each in received] == [7, 7, 3]
    found = gained(server, before)
    assert found["sent_events"] == sum(map(len, received)) + 1
    assert 3 * 1000 < found["sent_bytes"] < 3 * 1000 + 200 * found["sent_events"]
    assert (found["new_readers"], found["resumed_readers"]) == (3, 1)
    # An event may be read from the log before the subscription is confirmed, and is not received once more then.
    assert 6 <= found["watched_events"] <= 6 + 1
    assert found["watched_bytes"] > 1000
    wait_for(lambda: gained(server, before)["unwatched_events"] == 1, what="the event that nobody watched")
    for stream in (taken, yielded, resumed):
        stream.socket.close()
