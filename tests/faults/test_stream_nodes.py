"""Row 51: generations are spread over three stream nodes; one of them dies or hangs, another drains."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from millrace.worker.contract.ids import new_generation, node_in
from millrace.worker.contract.redis.connection import REPLY_SECONDS
from tests.client import wait_for
from tests.faults.conftest import StartedGeneration, ask, assert_complete
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.valkey import ValkeyProcess

LOST_SECONDS = 3
ANSWER_SECONDS = 15
NODES = ("a", "b", "c1")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, ValkeyProcess]]:
    with ExitStack() as stack:
        made: dict[str, ValkeyProcess] = {}
        for name in NODES:
            (tmp_path / name).mkdir()
            made[name] = stack.enter_context(ValkeyProcess(tmp_path / name))
        yield made


def rig_of(directory: Path, nodes: dict[str, ValkeyProcess], lost_seconds: int) -> Rig:
    urls = ",".join(f"{name}={valkey.url}" for name, valkey in nodes.items())
    return Rig(directory, stream_redis_urls=urls, stream_lost_seconds=lost_seconds, max_active_per_user=100)


@pytest.fixture
def rig(tmp_path: Path, nodes: dict[str, ValkeyProcess]) -> Iterator[Rig]:
    with rig_of(tmp_path, nodes, LOST_SECONDS) as made:
        yield made


def ask_on_each_node(rig: Rig, least: int = 2) -> dict[str, list[StartedGeneration]]:
    """Ask until each node runs at least so many generations, and return them by node."""
    asked: dict[str, list[StartedGeneration]] = {name: [] for name in NODES}
    while min(map(len, asked.values())) < least:
        started = ask(rig, ANSWER_SECONDS, name=f"n{sum(map(len, asked.values()))}")
        asked[node_in(started.generation)].append(started)
        assert sum(map(len, asked.values())) < 60, "nodes are picked at random"
    for each in [each for some in asked.values() for each in some]:
        wait_for(lambda each=each: len(each.follower.text) > 20, 40, "some text")
    return asked


def conversation_of(asked: StartedGeneration) -> str:
    return str(asked.client.snapshot(asked.generation)["conversation_id"])


def test_row_51_a_dead_node_ends_its_generations_and_harms_no_others(rig: Rig, nodes: dict[str, ValkeyProcess]) -> None:
    asked = ask_on_each_node(rig)
    conversations = {each.generation: conversation_of(each) for each in asked["b"]}
    before = rig.valkey.client().keys("mr:{b*")
    assert not before, "the control Redis holds no generation"
    nodes["b"].signal(signal.SIGKILL)
    died_at = time.monotonic()
    wait_for(lambda: rig.webs[0].logged("stream_node_down", node="b"), 30, "the web to know")
    later = [ask(rig, 2) for _ in range(6)]
    assert "b" not in {node_in(each.generation) for each in later}, "new generations avoid the dead node"
    for each in (*later, *asked["a"], *asked["c1"]):
        assert check(each.follower, each.client)["type"] == "complete"
        assert each.follower.text == each.text
    for each in asked["b"]:
        outcome = check(each.follower, each.client, LOST_SECONDS + 30)
        assert (outcome["type"], outcome["code"]) == ("error", "stream_lost")
        assert len(each.follower.text) > 20
        assert each.text.startswith(each.follower.text), "the worker has stored the text so far"
        again = {"message": "again", "conversation_id": conversations[each.generation]}
        # Within 15 s of its creation, one that is not found may still be being created.
        wait_for(lambda each=each, again=again: each.client.post(again).status_code == 202, 40, "a free conversation")
    assert time.monotonic() - died_at > LOST_SECONDS
    lost = [json.loads(line) for line in rig.webs[0].log.read_text().splitlines() if "stream_node_lost" in line]
    assert [(line["node"], line["generations"]) for line in lost] == [("b", len(asked["b"]))], "one line for all"


def test_row_51_a_node_that_hangs_delays_its_own_generations_alone(
    tmp_path: Path, nodes: dict[str, ValkeyProcess]
) -> None:
    with rig_of(tmp_path, nodes, lost_seconds=60) as rig:
        asked = ask_on_each_node(rig)
        others = [*asked["a"], *asked["c1"]]
        nodes["b"].signal(signal.SIGSTOP)
        try:
            for each in others:
                each.follower.longest_silence = 0.0
            assert_complete(rig, others)
            assert not any(each.follower.is_done for each in asked["b"])
            silences = [round(each.follower.longest_silence, 1) for each in others]
            assert max(silences) < REPLY_SECONDS, silences
            later = [ask(rig, 1, name=f"h{number}") for number in range(6)]
            assert "b" not in {node_in(each.generation) for each in later}, "new generations avoid it"
            assert_complete(rig, later)
        finally:
            nodes["b"].signal(signal.SIGCONT)
        assert_complete(rig, asked["b"])


def test_row_51_a_node_that_is_added_gets_generations_and_one_that_drains_gets_none(
    rig: Rig, nodes: dict[str, ValkeyProcess], tmp_path: Path
) -> None:
    """The processes are replaced one by one, as a rolling restart with new settings does; nothing is interrupted."""
    running = ask_on_each_node(rig, 1)
    for name in ("d", "zz"):  # no node has these names yet
        assert rig.client().http.get(f"/api/generations/{new_generation(name)}").status_code == 404
    (tmp_path / "d").mkdir()
    with ValkeyProcess(tmp_path / "d") as added:
        urls = ",".join(f"{name}={valkey.url}" for name, valkey in {**nodes, "d": added}.items())
        rig.add_settings(stream_redis_urls=urls, stream_draining="a")
        worker, web = rig.start_worker(), rig.start_web()
        rig.await_ready(rig.urls[1])
        assert worker.is_alive
        assert web.is_alive
        rig.workers[0].signal(signal.SIGTERM)
        names: set[str] = set()
        client = rig.client(1)
        for number in range(40):
            names.add(node_in(client.ask(f"question {number}")))
        assert names == {"b", "c1", "d"}
        for each in [each for some in running.values() for each in some]:
            assert check(each.follower, each.client, 90)["type"] == "complete"
