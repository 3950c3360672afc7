"""Creation of a generation whose question is edited: it replaces a stored question and all that follows it.

1. find the message that is replaced       3. replace the turns, in one transaction
2. create the generation, not yet enqueued  4. enqueue the task
                                            5. delete the logs and the images of removed answers

A worker must not read the conversation before its turns are replaced, so the task is enqueued last. A failure before
the transaction, or in it, changes nothing. After it the edit has happened, and no failure is reported any more: a sweep
enqueues a task that the queue has refused.
"""

from dataclasses import dataclass

from millrace.webapp.generation.validation import ParsedRequest, no_conversation
from millrace.webapp.generation.withdrawal import NewGeneration
from millrace.webapp.services import Services
from millrace.worker.contract.cancellation import forget
from millrace.worker.contract.conversation_lock import latest_generation
from millrace.worker.contract.creation import Draft, create, withdraw
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.ids import is_generation, is_id
from millrace.worker.contract.state import GenerationState, read_state
from millrace.worker.errors import DatabaseUnavailable, QueueUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store.edits import Replaced, find_turn, replace_turns
from millrace.worker.store.messages import StoredQuestion

_log = get_logger(__name__)


@dataclass(frozen=True)
class Replacement:
    """The message to replace, and the conversation's latest generation, whose answer may not be stored yet."""

    message: str
    latest: GenerationState | None


def find_replacement(services: Services, owner: str, conversation: str, message: str) -> Replacement:
    """Return what an edit replaces; raises Problem 404, RedisUnavailable, RedisKeyInvalid, DatabaseUnavailable.

    A message of the latest generation is found by it, whether it is stored yet or not.
    """
    running = latest_generation(services.redis, conversation)
    latest = read_state(services.streams, running) if running is not None and is_generation(running) else None
    if latest is not None and (latest.owner != owner or latest.is_deleted or not latest.question):
        latest = None
    if latest is not None and message in (latest.message, latest.question):
        return Replacement(latest.question, latest)
    if not is_id(message):
        raise no_conversation()
    if services.database.run(lambda session: find_turn(session, owner, conversation, message)) is None:
        raise no_conversation()
    return Replacement(message, latest)


def create_edited(
    services: Services, new: NewGeneration, draft: Draft, request: ParsedRequest, replacement: Replacement | None
) -> GenerationState:
    """Create a generation in the place of what it replaces, and enqueue it; None for one that exists already.

    Raises Problem 404, RedisUnavailable, RedisKeyInvalid, DatabaseUnavailable; nothing has changed then, except that
    the transaction may have succeeded although the database did not confirm it.
    """
    state = create(services.streams, draft, services.settings)
    if not state.is_running:
        return state
    latest = replacement.latest if replacement is not None else None
    replaced = _replace(services, new, draft, request, replacement)
    publish(services.redis, new.owner, ConversationChanged(new.ids.conversation))
    removed = set(replaced.generations)
    if latest is not None and latest.question in replaced.questions:
        removed.add(latest.generation)
    if state.status == "queued":
        try:
            services.task_queue.enqueue(new.ids.generation, draft.lane)
        except QueueUnavailable as error:
            _log.warning("edit_not_enqueued", generation=new.ids.generation, error=error)
    _remove(services, removed)
    return state


def _replace(
    services: Services, new: NewGeneration, draft: Draft, request: ParsedRequest, replacement: Replacement | None
) -> Replaced:
    ids = new.ids
    question = StoredQuestion(ids.question, new.owner, ids.conversation, draft.request.messages[-1].content)
    message = replacement.message if replacement is not None else request.replaces or ""
    latest = replacement.latest.question if replacement is not None and replacement.latest is not None else ""
    try:
        replaced = services.database.run(lambda session: replace_turns(session, question, message, latest))
    except DatabaseUnavailable:
        withdraw(services.streams, ids.generation)
        raise
    if replaced is None:  # it was deleted since it was found
        withdraw(services.streams, ids.generation)
        raise no_conversation()
    return replaced


def _remove(services: Services, generations: set[str]) -> None:
    """Delete the logs and images of removed answers; what fails here expires by itself, as no message names it."""
    try:
        forget(services.streams, generations)
    except (RedisUnavailable, RedisKeyInvalid) as error:
        _log.warning("logs_not_deleted", generations=len(generations), error=error)
    try:
        services.images.delete(generations)
    except OSError as error:  # the housekeeping deletes them later
        _log.warning("images_not_deleted", error=error)
