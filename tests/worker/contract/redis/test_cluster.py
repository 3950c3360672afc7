"""The contract about generations holds in a cluster: while slots move, and while a master is replaced."""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
import redis as redis_py

from millrace.worker.contract.creation import Draft, create
from millrace.worker.contract.events import Chunk, encode
from millrace.worker.contract.ids import BUCKETS, bucket_of, new_id
from millrace.worker.contract.keys import LEASES, keys_of
from millrace.worker.contract.lease import Renewal, count_unfinished, have_ended, renew_all
from millrace.worker.contract.log import Append, Claim, Verdict, append_all, read
from millrace.worker.contract.owner_keys import find_generations
from millrace.worker.contract.pending_storage import take_due
from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import find_slot, slot_of
from millrace.worker.contract.redis.connection import (
    connect,
    find_unavailable,
    is_unavailable,
    run_each,
    translate_redis_errors,
)
from millrace.worker.contract.redis.connection_pool import is_current
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import LIST_DUE, run_all
from millrace.worker.contract.state import read_state
from millrace.worker.contract.sweep import sweep
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from tests.redis_cluster import RedisCluster
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import (
    LOG_TTL_MS,
    RUNNING,
    SETTINGS,
    append_event,
    claim_generation,
    new_draft,
)
from tests.worker.harness import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: RedisCluster) -> Iterator[ClusterClient]:
    with connect(cluster.url, timeout_seconds=2.0) as client:
        assert isinstance(client, ClusterClient)
        yield client


def id_in(bucket: int) -> str:
    while bucket_of(generation := new_id()) != bucket:
        pass
    return generation


def claimed_in(client: ClusterClient, bucket: int) -> Claim:
    """Create and claim a generation of a bucket."""
    draft = replaced_draft(bucket)
    create(Streams(client), draft, SETTINGS)
    return claim_generation(client, draft.ids.generation).claim


class Publisher:
    """Appends chunks to a log one by one, as a worker does, and those that failed again."""

    def __init__(self, client: ClusterClient, claim: Claim) -> None:
        self.claim = claim
        self.seq = 1
        self.failures = 0
        self.verdicts: set[Verdict] = set()
        self._client = client
        self._stopped = False
        self._run = gevent.spawn(self._append)

    def stop(self) -> None:
        """Stop; raises the error that has ended it."""
        self._stopped = True
        self._run.get(timeout=30)

    def _append(self) -> None:
        while not self._stopped:
            chunks = [
                Append(self.claim, seq, "chunk", encode(Chunk(f"{seq} "))) for seq in range(self.seq + 1, self.seq + 4)
            ]
            for result in append_all(self._client, chunks, LOG_TTL_MS):
                if isinstance(result, Exception):
                    assert is_unavailable(result)
                    self.failures += 1
                    break
                self.verdicts.add(result.verdict)
                if result.verdict not in (Verdict.APPENDED, Verdict.DUP):
                    return
                self.seq += 1
            gevent.sleep(0.002)


def test_each_command_reaches_the_master_of_its_bucket(cluster: RedisCluster, client: ClusterClient) -> None:
    assert find_slot((b"GET", "mr:{b07}:x")) == slot_of(b"b07") == cluster.slot_of(7)
    assert find_slot(("SCRIPT LOAD", "mr:x")) is None
    assert len(client.map.masters) == 3
    pipeline = client.pipeline(transaction=False)
    for bucket in range(BUCKETS):
        pipeline.set(f"mr:{{b{bucket:02}}}:x", bucket, px=60_000)
    pipeline.lpush("mr:{b07}:x", "no list")
    pipeline.hmget("mr:{b08}:y", "a")
    *done, wrong, empty = run_each(pipeline)
    assert (done, empty) == ([True] * BUCKETS, [None])
    assert isinstance(wrong, redis_py.ResponseError)
    assert [client.get(f"mr:{{b{bucket:02}}}:x") for bucket in range(BUCKETS)] == [
        str(bucket).encode() for bucket in range(BUCKETS)
    ]
    assert client.ping()
    with pytest.raises(RedisKeyInvalid), translate_redis_errors():
        client.lpush("mr:{b07}:x", "y")


def test_lost_scripts_are_loaded_at_every_master(client: ClusterClient) -> None:
    client.script_flush()
    assert run_all(client, [(LIST_DUE, (leases,), (10,)) for leases in LEASES]) == [[]] * BUCKETS


def test_generations_of_an_owner_are_found_at_every_master(client: ClusterClient) -> None:
    owner = new_id()
    drafts = [replace(new_draft(), owner=owner) for _ in range(0, BUCKETS, 8)]
    own = {id_in(bucket): draft for bucket, draft in zip(range(0, BUCKETS, 8), drafts, strict=True)}
    for generation, draft in own.items():
        create(Streams(client), replace(draft, ids=replace(draft.ids, generation=generation)), SETTINGS)
    assert len({client.map.place_of(slot_of(b"b%02d" % bucket)) for bucket in range(0, BUCKETS, 8)}) == 3
    assert {each.generation for each in find_generations(Streams(client), owner)} == own.keys()


def test_a_subscription_to_any_node_hears_every_master(client: ClusterClient) -> None:
    for bucket in range(0, BUCKETS, 16):
        claim = claimed_in(client, bucket)
        pool: Any = client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        assert is_current(pool, connection)
        connection.send_command("SUBSCRIBE", keys_of(claim.generation).channel)
        assert connection.read_response(push_request=True)[0] == b"subscribe"
        append_event(client, claim, 2, RUNNING)
        assert connection.read_response(timeout=30, push_request=True)[0] == b"message"
        connection.disconnect()


def test_logs_are_whole_and_nothing_is_appended_twice_while_slots_move(
    cluster: RedisCluster, client: ClusterClient
) -> None:
    publishers = [Publisher(client, claimed_in(client, bucket)) for bucket in (7, 7, 20, 33)]
    pipes = [gevent.spawn(client.hexists, keys_of(each.claim.generation).state, "done") for each in publishers]
    for _ in range(3):
        for bucket in (7, 20):
            source = cluster.master_of(bucket)
            target = next(node for node in cluster.nodes[:3] if node is not source)
            cluster.move(bucket, target)
            assert all(read_state(Streams(client), each.claim.generation) is not None for each in publishers)
    gevent.joinall(pipes, raise_error=True)
    for each in publishers:
        each.stop()
        assert each.verdicts <= {Verdict.APPENDED, Verdict.DUP}
        assert each.seq > 30
        sequence = [entry.cursor.seq for entry in read(Streams(client), each.claim.generation, count=100_000).entries]
        assert sequence == list(range(1, len(sequence) + 1))
        assert len(sequence) >= each.seq


def test_a_master_that_hangs_delays_no_call_for_the_others_and_one_that_is_known_to_hang_none_for_several(
    cluster: RedisCluster,
) -> None:
    """A call for all of them takes the time limit, and has the replies of the others; until the check finds it out."""
    with connect(cluster.url, timeout_seconds=6.0, retries=0) as client:
        assert isinstance(client, ClusterClient)
        keys = [f"mr:{{b{bucket:02}}}:x" for bucket in range(BUCKETS)]
        pipeline = client.pipeline()
        for key in keys:
            pipeline.set(key, key, px=60_000)
        pipeline.execute()
        hanging = cluster.nodes[1]
        own = {key for bucket, key in enumerate(keys) if cluster.master_of(bucket) is hanging}
        hanging.signal(signal.SIGSTOP)
        try:
            waiting = gevent.spawn(read_all, client, keys)
            gevent.sleep(0)
            assert {key: client.get(key) for key in keys if key not in own} == {
                key: key.encode() for key in keys if key not in own
            }
            assert not waiting.ready(), "a call for another master does not wait for the one that hangs"
            lost, _ = client.map.check()
            assert list(lost) == [("127.0.0.1", hanging.port)]
            for replies in (read_all(client, keys), waiting.get(timeout=30)):
                assert {key for key, reply in replies.items() if isinstance(reply, redis_py.ConnectionError)} == own
                assert all(reply == key.encode() for key, reply in replies.items() if key not in own)
        finally:
            hanging.signal(signal.SIGCONT)
        wait_until(lambda: client.map.check()[1] or not client.map.down, "its return")
        assert all(reply == key.encode() for key, reply in read_all(client, keys).items())


@pytest.fixture
def patient(cluster: RedisCluster) -> Iterator[ClusterClient]:
    with connect(cluster.url, timeout_seconds=60.0) as client:
        assert isinstance(client, ClusterClient)
        yield client


def test_work_on_all_masters_is_done_at_the_others_while_one_hangs(
    cluster: RedisCluster, patient: ClusterClient
) -> None:
    """Leases are renewed, the dead are swept, answers that wait for the database are taken; none waits for the one."""
    client, hanging = patient, cluster.nodes[1]
    buckets = {cluster.master_of(bucket).port: bucket for bucket in range(BUCKETS)}
    claims = {port: claimed_in(client, bucket) for port, bucket in buckets.items()}
    waiting = {port: replaced_draft(bucket) for port, bucket in buckets.items()}
    for draft in waiting.values():
        create(Streams(client), draft, SETTINGS)
        client.zadd(keys_of(draft.ids.generation).leases, {draft.ids.generation: 1})  # due for a sweep
        client.zadd(keys_of(draft.ids.generation).unstored, {draft.ids.generation: 1})
    before, began = count_unfinished(client), time.monotonic()
    hanging.signal(signal.SIGSTOP)
    try:
        client.map.check()
        for port, renewal in zip(claims, renew_all(client, [*claims.values()], SETTINGS), strict=True):
            if port == hanging.port:
                assert isinstance(renewal, redis_py.ConnectionError)
            else:
                assert isinstance(renewal, Renewal)
                assert renewal.verdict == "held"
        ended = dict(zip(claims, have_ended(client, [each.generation for each in claims.values()]), strict=True))
        assert ended == {port: None if port == hanging.port else False for port in claims}
        assert 2 <= count_unfinished(client) < before
        others = {draft.ids.generation for port, draft in waiting.items() if port != hanging.port}
        assert {each.generation for each in take_due(client, 1000)} & {
            each.ids.generation for each in waiting.values()
        } == others
        swept = sweep(Streams(client), SETTINGS)
        assert {*swept.to_enqueue} & {each.ids.generation for each in waiting.values()} == others
        assert time.monotonic() - began < 60
    finally:
        hanging.signal(signal.SIGCONT)
    wait_until(lambda: client.map.check() and not client.map.down, "its return")
    own = waiting[hanging.port].ids.generation
    assert own in {each.generation for each in take_due(client, 1000)}
    assert own in sweep(Streams(client), SETTINGS).to_enqueue


def replaced_draft(bucket: int) -> Draft:
    draft = new_draft()
    return replace(draft, ids=replace(draft.ids, generation=id_in(bucket)))


def read_all(client: ClusterClient, keys: list[str]) -> dict[str, Any]:
    pipeline = client.pipeline()
    for key in keys:
        pipeline.get(key)
    return dict(zip(keys, pipeline.execute(raise_on_error=False), strict=True))


def test_a_command_without_a_bucket_goes_to_any_or_every_master_or_is_refused(
    cluster: RedisCluster, client: ClusterClient
) -> None:
    assert client.ping()
    assert client.time()[0] > 0
    assert client.info("memory")["used_memory"]
    client.script_flush()
    digest = client.script_load("return 7")
    for node in cluster.nodes[:3]:
        with node.client() as single:
            assert single.script_exists(digest) == [True]
    for command in (lambda: client.scan(0), lambda: client.get("mr:retention"), lambda: client.exchange([b"PING"])):
        with pytest.raises(ValueError, match="names no bucket"):
            command()
    keyless_first = client.pipeline()
    keyless_first.time()
    with pytest.raises(ValueError, match="names no bucket"):
        keyless_first.execute()
    for bucket in (7, 33):  # the clock of the master that has the key
        pipeline = client.pipeline()
        pipeline.set(f"mr:{{b{bucket:02}}}:x", 1, px=60_000)
        pipeline.time()
        with cluster.master_of(bucket).client() as master:
            before: Any = master.info("commandstats").get("cmdstat_time", {"calls": 0})
            pipeline.execute()
            assert cast("Any", master.info("commandstats"))["cmdstat_time"]["calls"] == before["calls"] + 1


def test_a_master_that_dies_delays_its_own_generations_alone(cluster: RedisCluster, client: ClusterClient) -> None:
    dying = cluster.nodes[0]
    own = next(bucket for bucket in range(BUCKETS) if cluster.master_of(bucket) is dying)
    other = next(bucket for bucket in range(BUCKETS) if cluster.master_of(bucket) is cluster.nodes[2])
    hit, unharmed = Publisher(client, claimed_in(client, own)), Publisher(client, claimed_in(client, other))
    wait_until(lambda: hit.seq > 10 and unharmed.seq > 10, "some text")
    with cluster.nodes[0].client() as master:
        master.execute_command("WAIT", 1, 1000)
    dying.stop(signal.SIGKILL)
    before = unharmed.seq
    wait_until(lambda: hit.failures and unharmed.seq > before + 30, "the others to go on")
    failed = hit.failures
    wait_until(lambda: read_or_none(client, hit.claim.generation), "the replica to be the master", 60)
    for each in (hit, unharmed):
        each.stop()
    assert failed
    assert unharmed.failures == 0
    dying.start()
    # The replica may lack the newest entries: an append then finds a gap, and a worker writes them again.
    assert hit.verdicts <= {Verdict.APPENDED, Verdict.DUP, Verdict.GAP, Verdict.LOST}


def read_or_none(client: ClusterClient, generation: str) -> bool:
    try:
        return bool(read(Streams(client), generation).entries)
    except RedisUnavailable:
        return False


def test_a_cluster_that_is_away_or_is_none_is_named(cluster: RedisCluster, tmp_path: Path) -> None:
    assert find_unavailable({"A": cluster.url}, 3.0) == ""
    away = find_unavailable({"A": "redis+cluster://:hidden@127.0.0.1:1"}, 3.0)
    assert away.startswith("A: Redis at the cluster of 127.0.0.1:1 does not serve: no node of the cluster answers")
    with ValkeyProcess(tmp_path) as single:
        found = find_unavailable({"A": single.url.replace("redis://", "redis+cluster://").removesuffix("/0")}, 3.0)
        assert "no node of the cluster answers" in found
        assert "cluster support disabled" in found
