"""What is told of a generation when it has ended here: one line of the log, and the figures."""

from millrace.worker.answer import AnswerMeter
from millrace.worker.contract.events import Cancelled, Complete, Error
from millrace.worker.contract.keys import hash_of
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.run import RunningGeneration

_log = get_logger(__name__)


def tell_end(
    process: WorkerProcess, run: RunningGeneration, answer: AnswerMeter, outcome: Complete | Cancelled | Error | None
) -> None:
    """Log and count how a run ended; an outcome of None means that another worker goes on with the generation."""
    holding, usage, latency = run.holding, answer.usage(), answer.latency()
    process.figures.ended(outcome, usage, latency)
    _log.info(
        "ended",
        generation=holding.claim.generation,
        owner=hash_of(holding.owner),
        attempt=holding.attempt,
        outcome="left" if outcome is None else type(outcome).__name__.lower(),
        code=outcome.code if isinstance(outcome, Error) else None,
        why=type(run.interrupt.noted).__name__ if run.interrupt.noted else None,
        provider=process.provider.name,
        model=holding.request.model,
        first_delta_ms=latency.first_delta_ms,
        total_ms=latency.total_ms,
        events=run.outbox.next_seq - 1,
        chunks=answer.chunks,
        chars=answer.chars,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        is_exact=usage.exact,
    )
