"""What an attempt begins with: after another worker's, with nothing again or, where so set, with the text so far."""

import time

import gevent
import msgspec

from millrace.worker.contract.events import Snapshot
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import GenerationFailed, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.process import WorkerProcess
from millrace.worker.run import RunningGeneration

NOTHING = Snapshot("", "", [], [], "takeover")
READ_SECONDS = 20.0
READ_PAUSE_SECONDS = 0.25

_REFUSALS = ("provider_rejected", "context_too_long")

_log = get_logger(__name__)


def beginning(process: WorkerProcess, run: RunningGeneration) -> Snapshot | None:
    """Return what this attempt's answer begins with, None where it is the first; waits for the log, within bounds.

    Where the text can't be gone on from, that is nothing, and the answer begins anew.
    """
    holding = run.holding
    if holding.is_first_attempt:
        return None
    transcript = _read(process, run) if process.settings.generation.takeover == "continue" else None
    if transcript is None or transcript.tools:  # a tool's use without its result is nothing to go on from
        return NOTHING
    content = _trimmed(transcript.content)
    return msgspec.structs.replace(transcript.snapshot("takeover"), content=content) if content else NOTHING


def is_refusal(failure: GenerationFailed) -> bool:
    """Tell whether this, before the first delta, may be said of the beginning alone and not of the question."""
    return failure.code in _REFUSALS


def _read(process: WorkerProcess, run: RunningGeneration) -> Transcript | None:
    generation, give_up_at = run.holding.claim.generation, time.monotonic() + READ_SECONDS
    while True:
        try:
            with process.gate:
                return read_transcript(process.redis, generation)[0]
        except RedisUnavailable as error:
            if time.monotonic() > give_up_at or run.interrupt.noted is not None:
                _log.warning("takeover_unread", generation=generation, error=error)
                return None
        except ValueError as error:  # an event that this version does not know
            _log.warning("takeover_unread", generation=generation, error=type(error).__name__)
            return None
        gevent.sleep(READ_PAUSE_SECONDS)


def _trimmed(text: str) -> str:
    """Return the text without the whitespace at its end, which Bedrock refuses, and without half a character there."""
    text = text.rstrip()
    while "\ud800" <= text[-1:] <= "\udbff":
        text = text[:-1].rstrip()
    return text
