"""Learning from answers: after their `done`, beside everything else, from each generation once.

A ring for it is a Celery task of its own; the process that hears it learns in a few greenlets of its own, so that no
backlog takes an answer's place. A mark in Redis keeps a second ring from asking the model as well; that nothing is
learned twice is the database's to say, in the transaction that keeps the facts. Who leaves rings again for what it has
not done; what a process was about that is killed is not learned.
"""

import random

import gevent
import msgspec
from gevent.queue import Full, Queue
from sqlalchemy.orm import Session

from millrace.worker.after.facts import find_facts
from millrace.worker.after.turn import CompletedTurn
from millrace.worker.contract.connection import translate_redis_errors
from millrace.worker.contract.events import Complete
from millrace.worker.contract.keys import learning_key
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed, QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.store import answers, memories
from millrace.worker.store.answers import AnswerRecord

AT_ONCE = 8  # of one process
MOST_WAITING = 10_000  # of one process; what comes on top of that is not learned from
TRIES = 6
FIRST_SECONDS = 1.0  # before the second try; doubled each time, and half of it by chance
CALL_SECONDS = 30.0
MARK_MS = 600_000  # longer than all tries together
MOST_KNOWN = 8  # of what is known already, that the model is told

_log = get_logger(__name__)


class NotKept(Exception):
    """The answer is not in the database, or not yet."""


class Learner:
    """The learning of one process."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._queue: Queue[str] = Queue(MOST_WAITING)
        self._under_way: set[str] = set()
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """Begin to learn."""
        self._greenlets = [gevent.spawn(self._run) for _ in range(AT_ONCE)]

    def stop(self) -> None:
        """End at once, and ring for what is not done."""
        gevent.killall(self._greenlets)
        waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        for generation in (*self._under_way, *waiting):
            try:
                self._unmark(generation)
                self._process.task_queue.enqueue_learning(generation)
            except (RedisUnavailable, QueueUnavailable) as away:
                _log.warning("learning_not_passed_on", generation=generation, error=away)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be done just now."""
        return self._queue.empty() and not self._under_way

    def take(self, generation: str) -> None:
        """Learn from a generation's answer when its turn comes; returns at once."""
        try:
            self._queue.put_nowait(generation)
        except Full:
            _log.warning("learning_refused", generation=generation)

    def _run(self) -> None:
        while True:
            generation = self._queue.get()
            if generation in self._under_way:
                continue
            self._under_way.add(generation)
            try:
                self._learn_patiently(generation)
            except Exception:  # noqa: BLE001 - the edge of this greenlet: it must outlive everything
                _log.exception("learning_failed", generation=generation)
            self._under_way.discard(generation)  # not in a `finally`: what is cut off is still to be done

    def _learn_patiently(self, generation: str) -> None:
        is_marked = False
        for tried in range(1, TRIES + 1):
            try:
                is_marked = is_marked or self._mark(generation)
                if is_marked:
                    self._learn(generation)
                return
            except (
                GenerationFailed,
                msgspec.ValidationError,
                NotKept,
                DatabaseUnavailable,
                RedisUnavailable,
                TimeoutError,
            ) as error:
                told = error.code if isinstance(error, GenerationFailed) else type(error).__name__
                _log.warning("learning_put_off", generation=generation, tried=tried, error=told)
                if isinstance(error, GenerationFailed) and not error.retryable:
                    break
            gevent.sleep(FIRST_SECONDS * 2 ** (tried - 1) * random.uniform(0.5, 1.0))
        _log.warning("learning_given_up", generation=generation)

    def _learn(self, generation: str) -> None:
        """Ask and keep; raises what `_learn_patiently` bears, after which it may be done again."""
        kept, known = self._process.database.run(lambda session: _look_up(session, generation))
        turn = _turn_of(kept)
        if turn is None:
            return
        with gevent.Timeout(CALL_SECONDS, TimeoutError("the model has not answered")):
            facts = find_facts(self._process.provider, self._process.settings, turn, known)
        new = self._process.database.run(lambda session: _keep(session, turn, facts))
        _log.info("learned", generation=generation, facts=len(facts), new=new)

    def _mark(self, generation: str) -> bool:
        """Take the generation; False where somebody else is about it, or has just been."""
        with translate_redis_errors(), self._process.gate:
            return bool(self._process.redis.set(learning_key(generation), b"1", nx=True, px=MARK_MS))

    def _unmark(self, generation: str) -> None:
        with translate_redis_errors(), self._process.gate:
            self._process.redis.delete(learning_key(generation))


def _look_up(session: Session, generation: str) -> tuple[AnswerRecord, list[str]]:
    """Return the answer with its question, and what is known that has to do with them; raises NotKept."""
    kept = answers.answer_of_generation(session, generation)
    if kept is None:
        raise NotKept
    about = memories.search(session, kept.question.owner, kept.question.content, MOST_KNOWN)
    return kept, [memory.content for memory in about]


def _turn_of(kept: AnswerRecord) -> CompletedTurn | None:
    """Return what there is to learn from; None where the answer is not whole, or one of the two texts is blank."""
    question, answer = kept.question, kept.answer
    if not isinstance(answer.outcome, Complete) or not question.content.strip() or not answer.content.strip():
        return None
    return CompletedTurn(answer.generation, question.owner, question.conversation, question.content, answer.content)


def _keep(session: Session, turn: CompletedTurn, facts: list[str]) -> int:
    """Keep the facts, unless the generation has been learned from, and return how many of them are new."""
    if answers.claim_learning(session, turn.generation) is None:
        return 0
    return sum(memories.add(session, turn.owner, fact, turn.conversation, turn.generation) for fact in facts)
