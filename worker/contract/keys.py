"""Every Redis key and channel there is, spelled here and nowhere else.

| key | type | what | life |
|---|---|---|---|
| `mr:{bNN}:ID:log` | stream | the events, field `d`: JSON; capped, never trimmed | 1 h after `done` |
| `mr:{bNN}:ID:state` | hash | owner, request, status, token, epoch, attempt, top, outcome, cancel flag, times | 25 h |
| `mr:{bNN}:ID` | channel | `<epoch>-<seq> <JSON>`, the same bytes as the log's entries | - |
| `mr:{bNN}:leases` | sorted set | unfinished generations, scored by when they are next looked at, in Redis's ms | - |
| `mr:{bNN}:unstored` | sorted set | ended generations whose answer SQL may lack, by when that is looked into | - |
| `mr:{bNN}:ID:watched` | string | somebody watches; kept only for `on_disconnect: cancel` | 15 s |
| `mr:idem:HASH` | string | an owner's Idempotency-Key: the ids and the body's hash, set NX | 24 h |
| `mr:conversation:ID:turn` | hash | owner, which generation took it last and when, which opened it, `deleted` | 25 h |
| `mr:owner:HASH:active` | sorted set | an owner's running generations, by when each began; heals itself | 25 h |
| `mr:limits:…` | strings | flask-limiter's counts, by owner's hash or address and limit | two of the limit's windows |
| `mr:figures` | sorted set | processes that tell their figures, by when they last did, in Redis's ms | - |
| `mr:figures:PROCESS` | string | one process's figures, JSON | 30 s |
| `mr:workers` | sorted set | worker processes by when they last consumed their canary, in Redis's ms | - |
| `mr:{bNN}:ID:learning` | string | somebody learns from the answer, or has just done so | 10 min |
| `millrace`, `millrace.learning`, `millrace.canary.…` | list | Celery's: rings to answer, to learn, one's own | - |
| `mr:owner:HASH:feed` | stream | an owner's feed, field `d`: JSON; capped | 1 h after its newest event |
| `mr:owner:HASH:feed` | channel | nothing but a word that the feed has grown | - |

NN is the generation's bucket; it is the hash tag, so that one script's keys live in one slot.
"""

import hashlib
from typing import NamedTuple

from millrace.worker.contract.ids import BUCKETS, bucket_of

QUEUE = "millrace"
LEARNING_QUEUE = "millrace.learning"
WORKERS = "mr:workers"
LIMITS = "mr:limits"
METRICS = "mr:figures"

LEASES = tuple(f"mr:{{b{number:02}}}:leases" for number in range(BUCKETS))
UNSTORED = tuple(f"mr:{{b{number:02}}}:unstored" for number in range(BUCKETS))


def canary_queue(worker: str) -> str:
    """Return the queue that only the worker process of this name consumes, for what it sends to itself."""
    return f"{QUEUE}.canary.{worker}"


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


def channel_of(generation: str) -> bytes:
    """Return the name of the generation's channel, as pub/sub messages carry it."""
    return keys_of(generation).channel.encode()


def idempotency_key(owner: str, key: str) -> str:
    """Return the key that remembers what an owner's Idempotency-Key made; neither of the two can be read from it."""
    return "mr:idem:" + hashlib.sha256(f"{len(owner)}:{owner}{key}".encode("utf-8", "surrogatepass")).hexdigest()


def learning_key(generation: str) -> str:
    """Return the key that says that somebody learns from this generation's answer."""
    return f"{keys_of(generation).channel}:learning"


def feed_key(owner: str) -> str:
    """Return the key of an owner's feed, which is its channel's name as well; the owner can't be read from it."""
    return f"mr:owner:{hash_of(owner)}:feed"


def hash_of(owner: str) -> str:
    """Return what stands for an owner in keys and logs: always the same, and the owner can't be read from it."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def active_key(owner: str) -> str:
    """Return the key of the set of an owner's running generations."""
    return f"mr:owner:{hash_of(owner)}:active"


def metrics_key(process: str) -> str:
    """Return the key of one process's figures."""
    return f"{METRICS}:{process}"


def conversation_key(conversation: str) -> str:
    """Return the key that remembers whose conversation this is, and what runs in it."""
    return f"mr:conversation:{conversation}:turn"
