"""Checks of the workers: one is seen alive, the queue does not grow, and one answers a question of the doctor's own.

The question is no turn of a conversation, so nothing of it is stored, and its log is forgotten afterwards.
"""

import time
from collections.abc import Iterator

from deploy.doctor.models import advice_for
from deploy.doctor.report import Finding, failed, ok, warning
from millrace.worker.contract.cancellation import cancel, forget
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, Chunk, Complete, Error, Reasoning, StatusEvent
from millrace.worker.contract.ids import START
from millrace.worker.contract.keys import hash_of
from millrace.worker.contract.lease import count_unfinished
from millrace.worker.contract.log import decode_entry, read
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis, connect, place_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.errors import DependencyUnavailable
from millrace.worker.observability.shared_metrics import collect, host_of
from millrace.worker.settings.schema import Settings

SUBJECT = "workers"
QUESTION = "Reply with the one word: ok"
QUESTION_TOKENS = 16  # the least that every API takes; the answer needs one or two
CLAIM_SECONDS = 15.0
ANSWER_SECONDS = 45.0
MANY_WAITING = 50
_POLL_SECONDS = 0.01
_START = "Start one: `millrace-worker`, or `python3 deploy/run.py` for the whole system."
_STUCK = (
    "It takes nothing from the queue. Compare its MILLRACE_BROKER_URL and MILLRACE_REDIS_URL with these, and look at "
    "its log; a restart of the worker loses nothing."
)


def find_hosts(settings: Settings) -> set[str]:
    """Return the hosts of all processes that have published metrics lately; none while Redis is away."""
    try:
        with connect(settings.redis.url, timeout_seconds=2.0, retries=0) as redis:
            return {host for process in collect(redis) if (host := host_of(process))}
    except DependencyUnavailable:
        return set()


def check_workers(settings: Settings) -> Iterator[Finding]:
    """Yield how many workers are alive and how much waits; then have one of them answer a question."""
    with connect(settings.redis.url, timeout_seconds=2.0, retries=0) as redis:
        queue = TaskQueue(settings)
        try:
            alive = count_live_workers(redis)
            waiting, unfinished = queue.count_waiting(), count_unfinished(redis)
            load = f"{waiting} tasks wait, {unfinished} answers are unfinished"
            if not alive:
                found = f"no worker has consumed anything in the last 10 s on {place_of(settings.redis.url)}; {load}"
                yield failed(SUBJECT, found, _START)
                return
            if waiting > MANY_WAITING:
                yield warning(SUBJECT, f"{alive} alive; {load}", "Answers come late. Start more worker processes.")
            else:
                yield ok(SUBJECT, f"{alive} alive; {load}")
            yield from _open_breakers(redis)
            yield from _ask(redis, queue, settings)
        except DependencyUnavailable as error:
            yield failed(SUBJECT, f"not checked: {error}", "See the lines about Redis.")
        finally:
            queue.close()


def _open_breakers(redis: Redis) -> Iterator[Finding]:
    """Yield the models that the workers do not ask for now, because they have failed again and again."""
    samples = [each for families in collect(redis).values() for family in families for each in family.samples]
    breakers = [each.labels for each in samples if each.name == "millrace_breaker_open" and each.value]
    for model in dict.fromkeys(f"{each['provider']}/{each['model']}" for each in breakers):
        advice = "It closes by itself once a probe succeeds. The line about this model below shows what it answers now."
        yield warning(SUBJECT, f"calls of {model} are suspended by its circuit breaker", advice)


def _ask(redis: Redis, queue: TaskQueue, settings: Settings) -> Iterator[Finding]:
    """Enqueue a question as the web tier does, and yield how a worker dealt with it."""
    ids, owner = new_ids(question=""), f"doctor-{new_ids().generation}"
    request = ModelRequest([PromptMessage("user", QUESTION)], settings.default_model, QUESTION_TOKENS)
    lane = hash_of(owner)
    create(Streams(redis), Draft(ids, owner, request, "continue", 0.0, lane=lane), settings)
    began, claimed_at = time.monotonic(), 0.0
    try:
        queue.enqueue(ids.generation, lane)
        for event in _follow(redis, ids.generation):
            now = time.monotonic()
            if isinstance(event, StatusEvent) and event.status == "running" and not claimed_at:
                claimed_at = now
                yield ok(SUBJECT, f"one of them took a question {(now - began) * 1000:.0f} ms after it was enqueued")
            elif finding := _judge(event, f"{(now - began):.2f} s"):
                yield finding
                return
            if now - began > (ANSWER_SECONDS if claimed_at else CLAIM_SECONDS):
                break
        if not claimed_at:
            yield failed(SUBJECT, f"alive, but none took a question within {CLAIM_SECONDS:g} s", _STUCK)
        else:
            advice = "Look at the worker's log, and at the lines about the models below."
            yield failed(SUBJECT, f"a worker took the question and sent nothing for {ANSWER_SECONDS:g} s", advice)
    finally:
        # An answer that is cancelled in time gets no title and no suggestions, which would be paid for.
        cancel(Streams(redis), ids.generation, "user", settings)
        queue.remove([ids.generation])
        forget(Streams(redis), [ids.generation])


def _follow(redis: Redis, generation: str) -> Iterator[AnyEvent | None]:
    """Yield the events of a log as they come, and None again and again while there is none."""
    cursor = START
    while True:
        for entry in read(Streams(redis), generation, cursor).entries:
            cursor = entry.cursor
            yield decode_entry(entry)
        time.sleep(_POLL_SECONDS)
        yield None


def _judge(event: AnyEvent | None, after: str) -> Finding | None:
    """Return the finding that an event ends the round trip with, None if it goes on."""
    match event:
        case None | StatusEvent():
            return None
        case Error("empty_answer"):
            return ok(SUBJECT, f"the model answered through it after {after}, without text")
        case Error(code):
            return failed(SUBJECT, f"the answer through it ended after {after} with {code}", advice_for(code))
        case Complete():
            return ok(SUBJECT, f"the model answered through it after {after}")
        case Chunk() | Reasoning():
            return ok(SUBJECT, f"the first text through it came after {after}")
        case _:
            return None
