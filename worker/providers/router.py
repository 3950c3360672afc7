"""The router: asks the candidates for a model in their order until one of them answers.

Before an answer's first content the next candidate can be asked without a trace. After it, the answer ends in an error,
or continues once on the next candidate if its request allows that.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain

import gevent
import msgspec

from millrace.worker.contract.breaker import Breaker, Permission
from millrace.worker.contract.events import Chunk, PaidCall, Purpose, Reasoning, Usage
from millrace.worker.errors import ErrorCode, GenerationFailed, ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.breaker_report import BreakerReport
from millrace.worker.providers.chunking import cut_into_chunks
from millrace.worker.providers.prices import load_price_list, with_cost
from millrace.worker.providers.protocol import (
    Delta,
    Details,
    Prompt,
    Provider,
    ReasoningBlock,
    Started,
    Stopped,
    WholeAnswer,
)
from millrace.worker.providers.question import Answering, Asked, Paid, Question, Restarted, Retrying, RouterEvent
from millrace.worker.providers.retry import RetryBudget, backoff_seconds
from millrace.worker.providers.stop_reason import StopReason, failure_of
from millrace.worker.settings.catalog import Candidate
from millrace.worker.settings.schema import Settings

MAX_WAIT_SECONDS = 30.0
"""The longest wait between two calls of one candidate, whatever it asks for, and of all these waits together."""

_FOR_ANOTHER_CANDIDATE: frozenset[ErrorCode] = frozenset(
    (
        "provider_unavailable",
        "provider_timeout",
        "provider_authentication",
        "provider_rejected",
        "provider_throttled",
        "context_too_long",
        "truncated",
        "empty_answer",
    )
)
_TO_CONTINUE: frozenset[ErrorCode] = frozenset(
    ("provider_unavailable", "provider_timeout", "provider_throttled", "truncated")
)

_log = get_logger(__name__)


class _Call:
    """The state of one candidate's calls for one question."""

    def __init__(self, question: Question, candidate: Candidate, prefill: str) -> None:
        self.is_only_candidate = len(question.candidates) == 1
        self.candidate = candidate
        self.prefill = prefill
        self.has_begun = False
        self.usage: Usage | None = None  # that was reported before any content
        self._question = question
        self._prompts = question.prompts(candidate, prefill)
        self.prompt = next(self._prompts)

    def shorten(self) -> bool:
        """Go on to the next shorter prompt; return False if there is none."""
        shorter = next(self._prompts, None)
        self.prompt = shorter or self.prompt
        return shorter is not None

    def drop_prefill(self) -> None:
        """Begin the answer from nothing."""
        self.prefill = ""
        self._prompts = self._question.prompts(self.candidate, "")
        self.prompt = next(self._prompts)


class Router:
    """Asks the providers of one process; any number of greenlets may use it at once."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        breaker: Breaker,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        load_price_list(settings.models.price_list)  # at the start, and not in the middle of an answer
        self._settings = settings
        self._providers = providers
        self._breaker = breaker
        self._sleep = sleep
        self._budget = RetryBudget()
        self.calls: Counter[tuple[str, str]] = Counter()
        """The calls so far, by provider and result."""

    @property
    def providers(self) -> Collection[str]:
        """The names of the configured providers."""
        return self._providers.keys()

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """Return who answers for a model's public name, in order."""
        return self._settings.candidates(model)

    def stream(self, question: Question) -> Generator[RouterEvent | Delta]:
        """Yield the answer's deltas, and events that say who gives it.

        Empty deltas are left out. Raises the last candidate's ProviderError. Closing the generator closes the model's
        connection.
        """
        prefill, has_continued = question.prefill, False
        following = [*question.candidates]
        while following:
            candidate = following.pop(0)
            if prefill and not candidate.traits.prefill:
                prefill = ""
                yield Restarted("")
            call = _Call(question, candidate, prefill)
            try:
                yield from self._ask(call, is_last=not following)
            except ProviderError as failure:
                _log.warning("candidate_failed", provider=candidate.provider, code=failure.code, begun=call.has_begun)
                if has_continued:
                    raise
                prefill = call.prefill
                if call.has_begun:
                    text = question.text_so_far() if failure.code in _TO_CONTINUE else None
                    following = [each for each in following if each.traits.prefill or not text]
                    if text is None or not following:
                        raise
                    prefill, has_continued = text, True
                elif not following or failure.code not in _FOR_ANOTHER_CANDIDATE:
                    raise
                yield Retrying(following[0], failure.code)
                if has_continued:
                    yield Restarted(prefill)
            else:
                return

    def _ask(self, call: _Call, *, is_last: bool) -> Generator[RouterEvent | Delta]:
        """Call one candidate until it answers, within its tries; raises its last ProviderError."""
        give_up_at = time.monotonic() + MAX_WAIT_SECONDS
        tries = 1
        while True:
            try:
                yield from self._stream_once(call, is_last=is_last)
            except ProviderError as failure:
                if call.has_begun:
                    raise
                if paid := self._paid_call(call.candidate, failure.usage or call.usage, "answer"):
                    yield Paid(paid)
                if failure.refuses_streaming:
                    yield from self._answer_in_chunks(call)
                    return
                if failure.code == "context_too_long" and call.shorten():
                    continue
                if call.prefill and failure.code in ("provider_rejected", "context_too_long"):
                    call.drop_prefill()
                    yield Restarted("")
                    continue
                pause = self._pause_before_retry(failure, tries, is_last=is_last)
                if pause is None or time.monotonic() + pause > give_up_at:
                    raise
                yield Retrying(call.candidate, failure.code)
                self._sleep(pause)
                tries += 1
            else:
                self._budget.refund()
                return

    def _pause_before_retry(self, failure: ProviderError, tries: int, *, is_last: bool) -> float | None:
        """Return the seconds before the same candidate is called again, or None if it is not.

        An outage is not waited for while another candidate is left.
        """
        is_for_retry = failure.is_transient and (is_last or failure.code == "provider_throttled")
        if not is_for_retry or tries >= self._settings.providers.tries or not self._budget.take():
            return None
        return max(backoff_seconds(tries), failure.retry_after or 0.0)

    def _stream_once(self, call: _Call, *, is_last: bool) -> Generator[RouterEvent | Delta]:
        """Yield one call's deltas; raises ProviderError.

        A stream without a stop reason is a failure, and while another candidate is left so is one without content.
        """
        with self._report(call.candidate, is_last=is_last, is_only=call.is_only_candidate) as report:
            yield Asked(call.prompt)
            provider = self._providers[call.candidate.provider]
            has_stopped = False
            with closing(provider.stream(call.prompt)) as deltas:
                started = self._start(deltas, None if is_last else self._settings.providers.start_seconds)
                beginning = _read_beginning(deltas, call, may_be_empty=is_last or bool(call.prefill))
                report.succeeded()
                yield Answering(call.candidate, started.mode)
                for delta in chain(beginning, deltas):
                    if isinstance(delta, Usage):
                        yield with_cost(delta, call.candidate, self._settings)
                    elif not isinstance(delta, Started):
                        has_stopped = has_stopped or isinstance(delta, Stopped)
                        yield delta
            if not has_stopped:
                raise ProviderError("truncated", retryable=True)

    def _report(self, candidate: Candidate, *, is_last: bool, is_only: bool) -> BreakerReport:
        """Return the report of a call that begins now; raises ProviderError if the breaker is open.

        The last candidate is called in any case; of an only candidate the breaker is not asked, which saves its time.
        """
        name = f"{candidate.provider}:{candidate.id}"
        permission = Permission(name) if is_only else self._breaker.ask(name)
        if not permission.is_allowed and not is_last:
            self.calls[candidate.provider, "skipped"] += 1
            raise ProviderError("provider_unavailable", retryable=True)
        return BreakerReport(self._breaker, permission, self.calls)

    def _start(self, deltas: Iterator[Started | Delta], seconds: float | None) -> Started:
        """Wait until the response begins, at most for the seconds given."""
        timeout = None if seconds is None else gevent.Timeout(seconds, TimeoutError("the response has not begun"))
        try:
            if timeout is not None:
                timeout.start()
            first = next(deltas, None)
        except TimeoutError as error:  # a provider that does not map it itself
            raise ProviderError("provider_timeout", retryable=True) from error
        finally:
            if timeout is not None:
                timeout.close()
        if not isinstance(first, Started):
            raise ProviderError("truncated", retryable=True)
        return first

    def _answer_in_chunks(self, call: _Call) -> Generator[RouterEvent | Delta]:
        """Ask once for the whole answer, of a model that refuses to stream, and yield it in chunks."""
        answer = self._providers[call.candidate.provider].answer(call.prompt)
        call.has_begun = True
        yield Answering(call.candidate, "chunked")
        for text in cut_into_chunks(answer.text):
            yield Chunk(text)
        yield Stopped(answer.reason)
        yield with_cost(answer.usage, call.candidate, self._settings)

    def answer(self, prompt: Prompt, purpose: Purpose, record: Callable[[PaidCall], object]) -> WholeAnswer:
        """Return a short answer that no reader follows; `prompt.model` is a public name. Raises ProviderError.

        `record` is called with what each call cost, also with one that failed if its provider has reported it.
        """
        candidates = self.candidates(prompt.model)
        if prompt.tool:
            candidates = tuple(each for each in candidates if each.traits.tools)
        failure: GenerationFailed = ProviderError("provider_rejected", retryable=False)
        for at, candidate in enumerate(candidates, 1):
            try:
                with self._report(candidate, is_last=at == len(candidates), is_only=len(candidates) == 1):
                    provider = self._providers[candidate.provider]
                    answer = provider.answer(replace(prompt, model=candidate.id, traits=candidate.traits))
            except ProviderError as error:
                failure = error
                if paid := self._paid_call(candidate, error.usage, purpose):
                    record(paid)
                if error.code not in _FOR_ANOTHER_CANDIDATE:
                    break
            else:
                if paid := self._paid_call(candidate, answer.usage, purpose):
                    record(paid)
                return answer
        raise failure

    def _paid_call(self, candidate: Candidate, usage: Usage | None, purpose: Purpose) -> PaidCall | None:
        """Return the entry of the receipt for a call, None for one whose usage the provider has not reported."""
        if usage is None:
            return None
        counts = msgspec.structs.asdict(with_cost(usage, candidate, self._settings))
        return PaidCall(purpose=purpose, provider=candidate.provider, model=candidate.id, **counts)

    def close(self) -> None:
        """Close all idle connections; no stream is open any more."""
        for provider in self._providers.values():
            provider.close()


def _read_beginning(deltas: Iterator[Started | Delta], call: _Call, *, may_be_empty: bool) -> list[Delta]:
    """Return the deltas up to the first content, or all up to the stop reason of an answer without any.

    Raises ProviderError for a stream without either, and for an answer without content that must not be empty.
    """
    found: list[Delta] = []
    failure: ProviderError | None = None
    call.usage = None
    for delta in deltas:
        if isinstance(delta, Usage):
            call.usage = delta
        if isinstance(delta, Started) or _is_empty(delta) or failure is not None:
            continue  # an empty text is no beginning; behind an empty answer only its usage is of interest
        found.append(delta)
        if isinstance(delta, Stopped):
            failure = None if may_be_empty else _failure_without_content(delta.reason)
            if failure is None:
                return found
        elif not isinstance(delta, Usage | Details | ReasoningBlock):
            call.has_begun = True
            return found
    raise failure or ProviderError("truncated", retryable=True)


def _failure_without_content(reason: StopReason) -> ProviderError | None:
    """Return the failure of an answer that has stopped without content, None if no other candidate may be asked."""
    failure = failure_of(reason) or ProviderError("empty_answer", retryable=True)
    return failure if failure.code in _FOR_ANOTHER_CANDIDATE else None


def _is_empty(delta: Delta) -> bool:
    return isinstance(delta, Chunk | Reasoning) and not delta.content
