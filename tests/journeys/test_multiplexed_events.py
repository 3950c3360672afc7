"""Several answers on one connection, dropped and resumed as by EventSource; and a second tab on the feed."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from tests.client import Client, Json, Received, assert_complete, emulate, lines_of, parse_frames, text_of


@contextmanager
def followed(client: Client, address: str, last: str = "") -> Generator[Iterator[Received]]:
    """Connect, and give the events as they come; the reader drops at the end of the block."""
    headers = {"Last-Event-ID": last} if last else {}
    with client.http.stream("GET", address, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield parse_frames(lines_of(response))


class Assembled:
    """The state of a careful client: by the ids it drops events that it has already."""

    def __init__(self) -> None:
        self.last = ""
        self.streams: dict[str, list[Received]] = {}
        self.repeated = 0

    def take(self, each: Received) -> None:
        """Take an event, unless it is one that it has."""
        self.last = each.cursor
        name, _, cursor = each.cursor.partition("@")
        stream = self.streams.setdefault(name, [])
        if stream and _number(cursor) <= _number(stream[-1].cursor):
            self.repeated += 1
        else:
            stream.append(Received(cursor, each.event, each.at))

    def has_all(self, count: int) -> bool:
        """Tell whether so many streams have come to their `done`."""
        return sum(stream[-1].event["type"] == "done" for stream in self.streams.values()) == count


def _number(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split("-")))


def _without_name(received: list[Received]) -> list[tuple[str, Json]]:
    return [(each.cursor, {k: v for k, v in each.event.items() if k != "generation"}) for each in received]


def test_a_reader_of_five_streams_that_drops_repeatedly_has_every_byte(client: Client) -> None:
    asked = [client.ask(emulate(tokens=60, chars=5 + number, rate=60)) for number in range(5)]
    address = f"/api/events?{'&'.join(f'follow={each}' for each in asked)}"
    assembled, drops = Assembled(), 0
    while not assembled.has_all(5):
        with followed(client, address, assembled.last) as reader:
            for count, each in enumerate(reader):
                assembled.take(each)
                if drops < 8 and count == 15 * (drops + 1):  # each time a little later, so that it gets on
                    drops += 1
                    break
    assert drops > 3
    assert assembled.repeated > 0
    assert set(assembled.streams) == set(asked)
    for generation in asked:
        received = assembled.streams[generation]
        assert_complete(received)
        assert text_of(received) == client.snapshot(generation)["content"]
        assert _without_name(received) == _without_name(client.whole(generation))


def test_a_second_tab_sees_a_question_of_the_first_and_its_answer_live(client: Client) -> None:
    client.begin()
    with followed(client, "/api/events?feed=1") as feed:
        asked = client.ask(emulate(text="hello", tokens=5, rate=10, first_delay=0.2))
        started = next(feed).event
        assert (started["type"], started["generation"]) == ("generation_started", asked)
        assert text_of(client.whole(started["generation"])) == "hello"
        ended = next(each.event for each in feed if each.event["type"] == "generation_ended")
    assert (ended["generation"], ended["status"]) == (asked, "completed")
    assert ended["conversation_id"] == started["conversation_id"]


def test_a_cancel_in_one_tab_is_seen_by_the_other(client: Client) -> None:
    client.begin()
    asked = client.ask(emulate(tokens=1000, rate=20))
    kinds: list[str] = []
    with followed(client, f"/api/events?follow={asked}&feed=1") as both:
        for each in both:
            kinds.append(each.event["type"])
            if kinds.count("chunk") == 1 and kinds[-1] == "chunk":
                client.cancel(asked)
            if kinds[-1] == "generation_ended":
                break
    assert kinds[-3:] == ["cancelled", "done", "generation_ended"]
