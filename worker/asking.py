"""What the model is asked, built on what the sources give, and its answer on the way to the outbox."""

from collections.abc import Iterator

import gevent

from millrace.worker.answer import AnswerMeter
from millrace.worker.context.prompt import PromptBuilder
from millrace.worker.context.source import ContextQuestion
from millrace.worker.contract.events import StatusEvent
from millrace.worker.errors import GenerationFailed
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Prompt
from millrace.worker.providers.retry import stream_with_retries
from millrace.worker.run import RunningGeneration

_log = get_logger(__name__)


def build_context(process: WorkerProcess, run: RunningGeneration, *, is_told: bool) -> PromptBuilder:
    """Gather what the answer is to be built on, from all sources at once, each within its own time.

    It is told to the reader where `is_told`: not within a takeover, where a `snapshot` has begun the content.
    """
    holding = run.holding

    def say_searching() -> None:
        run.outbox.write(StatusEvent("searching", attempt=holding.attempt))

    question = ContextQuestion(
        generation=holding.claim.generation,
        owner=holding.owner,
        conversation=holding.conversation,
        answer_id=holding.message,
        request=holding.request,
        question_id=holding.question or None,
        on_search=say_searching,
    )
    context = PromptBuilder(holding.request, process.settings, process.sources.gather(question))
    event = context.context_event()
    if is_told and event is not None:
        run.outbox.write(event)
    return context


def ask(process: WorkerProcess, run: RunningGeneration, answer: AnswerMeter, prompts: Iterator[Prompt]) -> None:
    """Ask with the first prompt, and with a shorter one each time that the model says that it is too long."""
    prompt = next(prompts)
    while True:
        answer.asks(prompt)
        try:
            _take(process, run, answer, prompt)
        except GenerationFailed as failure:
            shorter = next(prompts, None)
            if failure.code != "context_too_long" or answer.has_begun or shorter is None:
                raise
            _log.warning("prompt_too_long", generation=run.holding.claim.generation)
            prompt = shorter
        else:
            return


def _take(process: WorkerProcess, run: RunningGeneration, answer: AnswerMeter, prompt: Prompt) -> None:
    def say_retrying(_failure: GenerationFailed) -> None:
        run.outbox.write(StatusEvent("retrying", attempt=run.holding.attempt))

    for delta in stream_with_retries(
        process.provider, prompt, process.settings.bedrock.tries, say_retrying, gevent.sleep
    ):
        content = answer.take(delta, run.outbox.next_seq)
        if content is not None:
            run.outbox.gather(content)
            run.outbox.wait_for_room()
