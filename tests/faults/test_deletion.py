"""Row 58: all data of one owner is deleted from stream nodes and from a cluster, while answers run on them."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from redis.crc import key_slot

from millrace.worker.contract.ids import bucket_of, node_in
from millrace.worker.contract.keys import hash_of, keys_of
from tests.client import Client, emulate, wait_for
from tests.faults.conftest import StartedGeneration, ask, words
from tests.faults.follower import Follower, check
from tests.faults.rig import Child, Rig
from tests.redis_cluster import MASTERS, SLOTS, RedisCluster
from tests.valkey import ValkeyProcess

NODES = ("a", "b")
READ: dict[object, Callable[[redis.Redis, Any], object]] = {
    b"hash": redis.Redis.hgetall,
    b"stream": redis.Redis.xrange,
    b"zset": lambda client, key: client.zrange(key, 0, -1),
}
"""How to read the kinds of keys whose dump may be packed."""
FORGOTTEN_MS = 30_000  # for which the state of a deleted generation stays, so that no suspended worker brings it back

_names = (f"{number:02x}" for number in itertools.count())


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, ValkeyProcess]]:
    """Two stream nodes, and the nodes of a cluster, which is the third."""
    with ExitStack() as stack:
        for name in ("c", *NODES):
            (tmp_path / name).mkdir()
        nodes = {name: stack.enter_context(ValkeyProcess(tmp_path / name)) for name in NODES}
        cluster = stack.enter_context(RedisCluster(tmp_path / "c"))
        yield nodes | {f"c{number}": each for number, each in enumerate(cluster.nodes)}


@pytest.fixture
def rig(tmp_path: Path, servers: dict[str, ValkeyProcess]) -> Iterator[Rig]:
    cluster = ",".join(f"127.0.0.1:{servers[f'c{number}'].port}" for number in range(2))
    urls = [f"{name}={servers[name].url}" for name in NODES] + [f"c=redis+cluster://{cluster}"]
    with Rig(tmp_path, stream_redis_urls=",".join(urls)) as made:
        yield made


def place_of(generation: str) -> str:
    """Return the name of the server that holds a generation, by the slots that the cluster's masters begin with."""
    node = node_in(generation)
    return node if node in NODES else f"c{key_slot(b'b%02d' % bucket_of(generation)) * MASTERS // SLOTS}"


def ask_stateless(rig: Rig, client: Client) -> StartedGeneration:
    """Ask for a short answer that is no turn of a conversation: only a scan finds it."""
    text, count = words(1, name=next(_names))
    message = emulate(text=text, tokens=count, rate=40)
    generation = str(client.post({"messages": [{"role": "user", "content": message}]}).json()["id"])
    return StartedGeneration(
        message, generation, text, client, Follower(rig.urls, client.http.cookies, generation, text)
    )


def begin_everywhere(begin: Callable[[], StartedGeneration]) -> list[StartedGeneration]:
    """Begin answers until one has begun on each node and on each master; one of each is returned."""
    begun: dict[str, StartedGeneration] = {}
    while len(begun) < len(NODES) + MASTERS:
        each = begin()
        begun.setdefault(place_of(each.generation), each)
    for each in begun.values():
        wait_for(lambda each=each: len(each.follower.text) > 20, 30, "some text")
    return list(begun.values())


def delete(rig: Rig, owner: str) -> tuple[int, str]:
    """Run the command that deletes an owner's data; returns its exit code and what it has written."""
    log = rig.directory / f"delete-{next(_names)}.log"
    arguments = ["millrace.webapp.owner_data.command", "delete", "--yes", owner]
    return Child("delete", arguments, rig.environment("web"), log, None).wait(90), log.read_text()


def holding(server: ValkeyProcess, words: tuple[str, ...]) -> set[str]:
    """Return the keys of a server that hold one of these words in any form, states of deleted generations aside."""
    found = set[str]()
    with server.client() as client:
        for key in client.scan_iter(count=1000):
            try:
                value = READ.get(client.type(key), redis.Redis.dump)(client, key)
                is_forgotten = key.endswith(b":state") and 0 < client.pttl(key) <= FORGOTTEN_MS
            except redis.RedisError:  # another master's
                continue
            if not is_forgotten and any(word in f"{key}{value}" for word in words):
                found.add(key.decode())
    return found


def test_row_58_a_deletion_leaves_nothing_of_the_owner_on_any_node_once_all_answer(
    rig: Rig, servers: dict[str, ValkeyProcess]
) -> None:
    client, other = rig.client(), rig.client()
    client.begin()
    ended = begin_everywhere(lambda: ask_stateless(rig, client))
    running = begin_everywhere(lambda: ask(rig, 60, name=next(_names), client=client))
    kept = ask(rig, 1, name=next(_names), client=other)
    for each in (*ended, kept):
        assert check(each.follower, each.client)["type"] == "complete"
    state = keys_of(ended[0].generation).state
    with servers[place_of(ended[0].generation)].client() as node:
        owner = cast("bytes", node.hget(state, "owner")).decode()
    texts = (owner, hash_of(owner), *(each.text[:20] for each in (*ended, *running)))
    assert all(holding(servers[name], texts) for name in ("a", "b", "c0", "c1", "c2"))
    servers["b"].stop(signal.SIGKILL)
    code, said = delete(rig, owner)
    assert (code, "delete: not complete: " in said) == (1, True), said
    servers["b"].start()
    code, said = delete(rig, owner)
    assert (code, said.startswith("Deleted: ")) == (0, True), said
    for each in running:
        wait_for(lambda each=each: each.client.http.get(f"/api/generations/{each.generation}").status_code == 404, 30)
        each.follower.stop()
    for name, server in servers.items():
        wait_for(lambda server=server: not holding(server, texts), 30, f"nothing of the owner on {name}")
    assert not holding(rig.valkey, texts[1:])
    left = holding(rig.valkey, (owner,))
    assert all(key.startswith("mr:conversation:") for key in left), "a day long no answer may bring one back"
    assert check(kept.follower, other)["type"] == "complete"
    assert other.snapshot(kept.generation)["content"] == kept.text
