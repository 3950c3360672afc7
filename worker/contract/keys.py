"""Every Redis key and channel, spelled here and nowhere else.

| key | type | content | expires |
|---|---|---|---|
| `mr:{bNN}:ID:log` | stream | the events, field `d`: JSON; bounded in number, never trimmed | 1 h after `done` |
| `mr:{bNN}:ID:state` | hash | owner, request, status, token, epoch, attempt, top, outcome, cancel flag, times | 25 h |
| `mr:{bNN}:ID` | channel | `<epoch>-<seq> <JSON>`, the same bytes as the log's entries | - |
| `mr:{bNN}:leases` | sorted set | unfinished generations by the time of their next sweep, in Redis's ms | - |
| `mr:{bNN}:unstored` | sorted set | ended generations whose answer may not be in SQL, by the next check | - |
| `mr:{bNN}:ID:watched` | string | present while the generation has readers; only for `on_disconnect: cancel` | 15 s |
| `mr:idem:HASH` | string | an owner's Idempotency-Key: the ids and the body's hash, set NX | 24 h |
| `mr:conversation:ID:turn` | hash | owner, last generation and its time, first generation, `deleted` | 25 h |
| `mr:owner:HASH:active` | sorted set | an owner's running generations by the time of their start; heals itself | 25 h |
| `mr:address:HASH:active` | sorted set | the same for all users of an address | 25 h |
| `mr:limits:…` | strings | counts of requests, by kind and by owner's hash or address | two of the limit's windows |
| `mr:figures` | sorted set | processes that publish metrics, by the time of the last publish, in Redis's ms | - |
| `mr:figures:PROCESS` | string | one process's metrics, JSON | 30 s |
| `mr:workers` | sorted set | worker processes by the time when they last consumed their canary, in Redis's ms | - |
| `mr:{bNN}:ID:learning` | string | a worker learns from the answer, or has done so | 10 min |
| `millrace`, `millrace.learning`, `millrace.canary.…` | list | Celery's queues: answers, learning, canaries | - |
| `mr:{waiting}:generations` | hash | generations that wait for a worker, each with its lane | 25 h |
| `mr:{waiting}:lanes` | list | the lanes that are not empty, in the order of their turns | 25 h |
| `mr:{waiting}:lane:HASH` | list | an owner's waiting generations, in session mode an address's | 25 h |
| `mr:breaker:{CANDIDATE}:state` | hash | circuit breaker that has opened: period, openings, due, prober | 25 h |
| `mr:breaker:{CANDIDATE}:failures` | sorted set | failed calls, fewer than open it, by Redis's ms | its window |
| `mr:owner:HASH:feed` | stream | an owner's feed, field `d`: JSON; capped | 1 h after its newest event |
| `mr:check:ID`, `mr:{bNN}:check:ID` | string, stream | written and removed by the doctor, to see that it may | 10 s |
| `millrace.check.ID` | list | likewise, in the broker | - |
| `mr:retention:HASH` | string | the process that deletes expired data of a database, until the next pass | 1 min |
| `mr:owner:HASH:feed` | channel | an empty message whenever the feed has grown | - |

The request leaves the state once the answer is stored. When a conversation is deleted, the logs of its generations are
deleted at once or with their `done`, and their states 30 s later.

The keys with `{bNN}`, except `ID:learning`, are on the stream node that the generation's id names; all others are on
`MILLRACE_REDIS_URL`. NN is the generation's bucket; it is the hash tag, so that one script's keys live in one slot.
CANDIDATE is `<provider>:<model>`; no other models have keys than those that requests may name.
"""

import hashlib
from typing import NamedTuple

from millrace.worker.contract.ids import BUCKETS, bucket_of

QUEUE = "millrace"
LEARNING_QUEUE = "millrace.learning"
WORKERS = "mr:workers"
LIMITS = "mr:limits"
METRICS = "mr:figures"
WAITING = ("mr:{waiting}:generations", "mr:{waiting}:lanes", "mr:{waiting}:lane:")
"""The keys of the generations that wait for a worker, as their scripts take them; the last one is a prefix."""

STATES = "mr:{b[0-9][0-9]}:*:state"
IDEMPOTENCY_KEYS = "mr:idem:*"
"""The patterns of all states and of all Idempotency-Keys, for SCAN."""

LEASES = tuple(f"mr:{{b{number:02}}}:leases" for number in range(BUCKETS))
UNSTORED = tuple(f"mr:{{b{number:02}}}:unstored" for number in range(BUCKETS))


def canary_queue(worker: str) -> str:
    """Return the queue that only the worker process of this name consumes, for its canary."""
    return f"{QUEUE}.canary.{worker}"


def check_keys(name: str, bucket: int | None = None) -> tuple[str, str]:
    """Return the keys that the doctor writes under this name: one like those of logs, and one like a queue.

    With a bucket the first one is the bucket's, as a stream node has no others.
    """
    tag = "" if bucket is None else f"{{b{bucket:02}}}:"
    return f"mr:{tag}check:{name}", f"{QUEUE}.check.{name}"


class GenerationKeys(NamedTuple):
    """The keys of one generation, in the order in which every script takes them."""

    state: str
    log: str
    leases: str
    channel: str
    watched: str
    unstored: str


def keys_of(generation: str) -> GenerationKeys:
    """Return the keys of one generation."""
    bucket = bucket_of(generation)
    channel = f"mr:{{b{bucket:02}}}:{generation}"
    state, log, watched = f"{channel}:state", f"{channel}:log", f"{channel}:watched"
    return GenerationKeys(state, log, LEASES[bucket], channel, watched, UNSTORED[bucket])


def generation_of(state: bytes) -> str:
    """Return the generation of a state's key; what it returns for another key need not be an id."""
    return state.decode("ascii", "replace").split(":")[2]


def channel_of(generation: str) -> bytes:
    """Return the name of the generation's channel, as pub/sub messages carry it."""
    return keys_of(generation).channel.encode()


def idempotency_key(owner: str, key: str) -> str:
    """Return the key of an owner's Idempotency-Key; neither owner nor Idempotency-Key can be read from it."""
    return "mr:idem:" + hashlib.sha256(f"{len(owner)}:{owner}{key}".encode("utf-8", "surrogatepass")).hexdigest()


def learning_key(generation: str) -> str:
    """Return the key that says that a worker learns from this generation's answer."""
    return f"{keys_of(generation).channel}:learning"


def feed_key(owner: str) -> str:
    """Return the key of an owner's feed, which is also its channel; the owner cannot be read from it."""
    return f"mr:owner:{hash_of(owner)}:feed"


def hash_of(owner: str) -> str:
    """Return a stable hash that stands for an owner in keys and log lines; the owner cannot be read from it."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def retention_key(database: str) -> str:
    """Return the key of the turn to delete expired data of the database of this name."""
    return f"mr:retention:{hash_of(database)}"


def counts_of(owner: str) -> str:
    """Return the pattern of the keys that count an owner's requests, for SCAN."""
    return f"*{LIMITS}*/{hash_of(owner)}/*"


def active_key(owner: str) -> str:
    """Return the key of the set of an owner's running generations."""
    return f"mr:owner:{hash_of(owner)}:active"


def address_active_key(address: str) -> str:
    """Return the key of the set of the running generations of all users of an address, which it does not show."""
    return f"mr:address:{hash_of(address)}:active"


def breaker_keys(candidate: str) -> tuple[str, str]:
    """Return the keys of the circuit breaker of a candidate, `<provider>:<model>`: its state and its failures."""
    prefix = "mr:breaker:{" + candidate.encode("ascii", "backslashreplace").decode() + "}:"
    return f"{prefix}state", f"{prefix}failures"


def metrics_key(process: str) -> str:
    """Return the key of one process's metrics."""
    return f"{METRICS}:{process}"


def conversation_key(conversation: str) -> str:
    """Return the key of a conversation's owner and of the generation that runs in it."""
    return f"mr:conversation:{conversation}:turn"
