"""Each generation has one home; a node that is lost, or that the settings do not name, has none."""

from collections.abc import Iterator

import pytest

from millrace.worker.contract.ids import new_generation, new_id
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import CONTROL, LOST_SLACK_SECONDS, Streams


@pytest.fixture
def clients() -> Iterator[dict[str, Redis]]:
    made = {name: connect("redis://127.0.0.1:1/0") for name in (CONTROL, "a", "b2")}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def streams(clients: dict[str, Redis]) -> Streams:
    return Streams(clients[CONTROL], {"a": clients["a"], "b2": clients["b2"]}, draining=["a"], lost_seconds=5)


def lose(streams: Streams, name: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    streams.statuses[name].down_since = 1000.0
    monkeypatch.setattr("millrace.worker.contract.redis.streams.time.monotonic", lambda: 1000.0 + seconds)


def test_one_redis_holds_everything_without_nodes(clients: dict[str, Redis]) -> None:
    streams, generation = Streams(clients[CONTROL]), new_id()
    assert streams.of(generation) is streams.redis_of(CONTROL) is streams.control is clients[CONTROL]
    assert [node.name for node in streams.nodes] == [CONTROL]
    assert streams.is_control(generation)
    assert streams.pick() == CONTROL


def test_a_generation_is_on_the_node_that_its_id_names(streams: Streams, clients: dict[str, Redis]) -> None:
    for name, client in clients.items():
        generation = new_generation(name)
        assert streams.of(generation) is streams.home_of(generation).redis is client
        assert streams.is_control(generation) is (name == CONTROL)
    assert streams.of(new_generation("zz")) is clients[CONTROL], "no node has this name"


def test_generations_are_grouped_by_their_node_in_order(streams: Streams) -> None:
    a, b, c = new_generation("a"), new_generation("b2"), new_generation("a")
    assert [(node.name, some) for node, some in streams.group([a, b, c])] == [("a", [a, c]), ("b2", [b])]
    assert streams.group([]) == []


def test_new_generations_avoid_nodes_that_drain_or_do_not_answer(clients: dict[str, Redis]) -> None:
    nodes = {name: clients[name] for name in ("a", "b2")}
    streams = Streams(clients[CONTROL], nodes)
    assert {streams.pick() for _ in range(100)} == {"a", "b2"}
    streams.statuses["a"].down_since = 0.0
    assert {streams.pick() for _ in range(100)} == {"b2"}
    streams.statuses["b2"].down_since = 0.0
    assert {streams.pick() for _ in range(100)} == {"a", "b2"}, "one may answer again"
    assert Streams(clients[CONTROL], nodes, draining=["b2"]).pick() == "a"
    assert Streams(clients[CONTROL], nodes, draining=["a", "b2"]).pick() == CONTROL


def test_a_lost_node_is_looked_up_on_the_control_redis_until_it_answers(
    streams: Streams, clients: dict[str, Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = new_generation("b2")
    lose(streams, "b2", 5 + LOST_SLACK_SECONDS - 0.1, monkeypatch)
    assert streams.of(generation) is clients["b2"]
    assert not streams.answers(generation)
    lose(streams, "b2", 5 + LOST_SLACK_SECONDS + 0.1, monkeypatch)
    assert streams.of(generation) is clients[CONTROL]
    assert streams.answers(generation)
    assert streams.home_of(generation).redis is clients["b2"], "it is created and written nowhere else"
    assert not streams.home_answers(generation)
    streams.statuses["b2"].down_since = None
    assert streams.of(generation) is clients["b2"]
