"""The router asks the candidates in their order, and says which of them answers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import gevent
import pytest

from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.events import Chunk, PaidCall, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, ReasoningBlock, Stopped, Tool, WholeAnswer
from millrace.worker.providers.question import Answering, Asked, Paid, Question, Restarted, Retrying, RouterEvent
from millrace.worker.providers.router import Router
from millrace.worker.providers.stub import Reply, Step, Stub
from millrace.worker.settings.catalog import Candidate, ModelTraits, Price
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.worker.harness import wait_until

BUSY = ProviderError("provider_throttled", retryable=True, is_transient=True)
AWAY = ProviderError("provider_unavailable", retryable=True, is_transient=True)
REFUSED = ProviderError("provider_rejected", retryable=False)
TOO_LONG = ProviderError("context_too_long", retryable=False)
WHOLE: list[Step] = [Chunk("a"), Stopped("end_turn"), Usage(1, 2)]
TRAITS = ModelTraits(10_000)


class RouterHarness:
    """A router over stubs, one per candidate, by the providers' names in their order."""

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Sequence[Step]]],
        traits: Mapping[str, ModelTraits] | None = None,
        replies: Mapping[str, Reply] | None = None,
        **settings: object,
    ) -> None:
        self.stubs = {name: Stub(script, name, replies=replies or {}) for name, script in scripts.items()}
        self.pauses: list[float] = []
        own = Settings.of(**{"providers": tuple(scripts), "breaker_failures": 0} | settings)
        self.breaker = Breaker(own)
        self.router = Router(own, self.stubs, self.breaker, self.pauses.append)
        traits = traits or {}
        self.candidates = [
            Candidate(name, f"{name}-model", traits.get(name, TRAITS))  # pyright: ignore[reportArgumentType]
            for name in scripts
        ]
        self.text = ""
        self.may_continue = False

    def read(self, prefill: str = "") -> list[RouterEvent | Delta]:
        """Return what the router yields, without the prompts; `text` is then the text that a reader has."""
        self.text = prefill
        found: list[RouterEvent | Delta] = []
        for item in self.router.stream(Question(self.candidates, prompts, prefill, self._text_so_far)):
            if isinstance(item, Chunk):
                self.text += item.content
            if isinstance(item, Restarted):
                self.text = item.content
            if not isinstance(item, Asked):
                found.append(item)
        return found

    def fail(self, prefill: str = "") -> ErrorCode:
        """Return the code of the error that the router raises."""
        with pytest.raises(ProviderError) as raised:
            self.read(prefill)
        return raised.value.code

    def _text_so_far(self) -> str | None:
        return self.text if self.may_continue else None


def prompts(candidate: Candidate, prefill: str) -> Iterator[Prompt]:
    """Yield a prompt and a shorter one."""
    for text in ("a long question", "short"):
        messages = (PromptMessage("user", text), *([PromptMessage("assistant", prefill)] if prefill else []))
        yield Prompt(candidate.id, messages, 10)


def test_a_transient_failure_is_retried_until_an_answer() -> None:
    harness = RouterHarness({"bedrock": [[BUSY], [Chunk(""), Reasoning(""), AWAY], WHOLE]})
    (only,) = harness.candidates
    retries = [Retrying(only, "provider_throttled"), Retrying(only, "provider_unavailable")]
    assert harness.read() == [*retries, Answering(only), *WHOLE]
    assert len(harness.pauses) == 2
    assert harness.stubs["bedrock"].closed == 3


def test_a_candidate_is_called_at_most_so_many_times() -> None:
    harness = RouterHarness({"bedrock": [[BUSY]]}, tries=3)
    assert harness.fail() == "provider_throttled"
    assert len(harness.stubs["bedrock"].prompts) == 3


@pytest.mark.parametrize("after", [3.0, 60.0])
def test_the_provider_says_how_long_to_wait_within_bounds(after: float) -> None:
    busy = ProviderError("provider_throttled", retryable=True, is_transient=True, retry_after=after)
    harness = RouterHarness({"bedrock": [[busy], WHOLE]})
    if after > 30:
        assert harness.fail() == "provider_throttled"
        assert harness.pauses == []
    else:
        assert harness.read()[-1] == Usage(1, 2)
        assert harness.pauses == [after]


def test_retries_of_a_process_have_a_budget() -> None:
    harness = RouterHarness({"bedrock": [[BUSY]]}, tries=10)
    for _ in range(20):
        assert harness.fail() == "provider_throttled"
    assert len(harness.pauses) == 100


@pytest.mark.parametrize(
    "failure",
    [
        AWAY,
        REFUSED,
        ProviderError("provider_timeout", retryable=True),
        ProviderError("provider_authentication", retryable=False),
    ],
    ids=lambda failure: failure.code,
)
def test_a_failure_before_any_content_goes_on_to_the_next_candidate_at_once(failure: ProviderError) -> None:
    harness = RouterHarness({"openai": [[Usage(1, 0), failure]], "bedrock": [WHOLE]})
    first, second = harness.candidates
    paid = Paid(PaidCall(1, 0, purpose="answer", provider="openai", model=first.id))
    assert harness.read() == [paid, Retrying(second, failure.code), Answering(second), *WHOLE]
    assert harness.pauses == []


def test_a_throttled_candidate_has_its_tries_before_the_next_one_is_asked() -> None:
    harness = RouterHarness({"openai": [[BUSY]], "bedrock": [WHOLE]}, tries=3)
    first, second = harness.candidates
    retries = [Retrying(first, BUSY.code), Retrying(first, BUSY.code), Retrying(second, BUSY.code)]
    assert harness.read() == [*retries, Answering(second), *WHOLE]


def test_content_that_was_filtered_is_asked_of_no_other_candidate() -> None:
    filtered = ProviderError("content_filtered", retryable=False)
    harness = RouterHarness({"openai": [[filtered]], "bedrock": [WHOLE]})
    assert harness.fail() == "content_filtered"
    assert harness.stubs["bedrock"].prompts == []


def test_the_error_is_that_of_the_last_candidate() -> None:
    harness = RouterHarness({"openai": [[AWAY]], "bedrock": [[REFUSED]]})
    assert harness.fail() == "provider_rejected"


def test_a_response_that_does_not_begin_in_time_is_left_for_the_next_candidate_only() -> None:
    slow = [lambda: gevent.sleep(0.3), *WHOLE]
    harness = RouterHarness({"openai": [slow], "bedrock": [slow]}, start_seconds=0.1)
    _, second = harness.candidates
    assert harness.read() == [Retrying(second, "provider_timeout"), Answering(second), *WHOLE]


def test_a_stream_without_content_or_a_stop_reason_goes_on_to_the_next_candidate() -> None:
    harness = RouterHarness({"openai": [[], [Chunk("")]], "bedrock": [WHOLE]})
    _, second = harness.candidates
    assert harness.read() == [Retrying(second, "truncated"), Answering(second), *WHOLE]


def test_a_prompt_that_is_too_long_is_shortened_before_the_next_candidate_is_asked() -> None:
    harness = RouterHarness({"openai": [[TOO_LONG]], "bedrock": [[TOO_LONG], WHOLE]})
    _, second = harness.candidates
    assert harness.read() == [Retrying(second, "context_too_long"), Answering(second), *WHOLE]
    for stub in harness.stubs.values():
        assert [prompt.messages[0].content for prompt in stub.prompts] == ["a long question", "short"]


def test_a_prefill_that_is_rejected_begins_the_answer_again() -> None:
    harness = RouterHarness({"bedrock": [[REFUSED], WHOLE]})
    assert harness.read("So far")[0] == Restarted("")
    assert harness.text == "a"
    assert [len(prompt.messages) for prompt in harness.stubs["bedrock"].prompts] == [2, 1]


def test_a_candidate_that_takes_no_prefill_begins_the_answer_again() -> None:
    harness = RouterHarness({"openai": [WHOLE]}, {"openai": ModelTraits(10_000, prefill=False)})
    assert harness.read("So far")[0] == Restarted("")
    assert [len(prompt.messages) for prompt in harness.stubs["openai"].prompts] == [1]


class TestFailureInMidAnswer:
    """A failure after the first content, in an answer that may continue or not."""

    def test_ends_the_answer_unless_its_request_allows_more(self) -> None:
        harness = RouterHarness({"openai": [[Chunk("Half"), AWAY]], "bedrock": [WHOLE]})
        assert harness.fail() == "provider_unavailable"
        assert harness.text == "Half"

    def test_continues_once_on_the_next_candidate_that_takes_a_prefill(self) -> None:
        end: list[Step] = [Chunk(" done."), Stopped("end_turn")]
        harness = RouterHarness({"openai": [[Chunk("Half"), AWAY]], "bedrock": [end]})
        harness.may_continue = True
        first, second = harness.candidates
        assert harness.read() == [
            Answering(first),
            Chunk("Half"),
            Retrying(second, "provider_unavailable"),
            Restarted("Half"),
            Answering(second),
            *end,
        ]
        assert harness.text == "Half done."
        assert harness.stubs["bedrock"].prompts[0].messages[-1] == PromptMessage("assistant", "Half")

    def test_passes_over_candidates_that_take_no_prefill(self) -> None:
        scripts: dict[str, list[list[Step]]] = {
            "openai": [[Chunk("Half"), AWAY]],
            "gemini": [WHOLE],
            "bedrock": [WHOLE],
        }
        harness = RouterHarness(scripts, {"gemini": ModelTraits(10_000, prefill=False)})
        harness.may_continue = True
        harness.read()
        assert harness.text == "Halfa"
        assert harness.stubs["gemini"].prompts == []

    def test_without_a_candidate_that_takes_a_prefill_ends_the_answer(self) -> None:
        scripts: dict[str, list[list[Step]]] = {"openai": [[Chunk("Half"), AWAY]], "gemini": [WHOLE]}
        harness = RouterHarness(scripts, {"gemini": ModelTraits(10_000, prefill=False)})
        harness.may_continue = True
        assert harness.fail() == "provider_unavailable"
        assert harness.text == "Half"

    def test_a_second_time_ends_the_answer(self) -> None:
        scripts: dict[str, list[list[Step]]] = {
            "openai": [[Chunk("a"), AWAY]],
            "gemini": [[Chunk("b"), AWAY]],
            "bedrock": [WHOLE],
        }
        harness = RouterHarness(scripts)
        harness.may_continue = True
        assert harness.fail() == "provider_unavailable"
        assert harness.text == "ab"

    @pytest.mark.parametrize("code", ["content_filtered", "provider_rejected"])
    def test_ends_the_answer_if_the_content_is_the_cause(self, code: ErrorCode) -> None:
        harness = RouterHarness({"openai": [[Chunk("a"), ProviderError(code, retryable=False)]], "bedrock": [WHOLE]})
        harness.may_continue = True
        assert harness.fail() == code


def test_a_model_that_refuses_to_stream_is_asked_for_the_whole_answer_which_comes_in_chunks() -> None:
    refusal = ProviderError("provider_rejected", retryable=False, refuses_streaming=True)
    text = "A mill grinds grain into flour, day by day."
    harness = RouterHarness({"openai": [[refusal]]}, replies={"": WholeAnswer(text, None, Usage(3, 4), "max_tokens")})
    (only,) = harness.candidates
    answering, *chunks, stopped, usage = harness.read()
    assert (answering, stopped, usage) == (Answering(only, "chunked"), Stopped("max_tokens"), Usage(3, 4))
    assert harness.text == text
    assert len(chunks) == 3


def test_closing_the_generator_closes_the_stream() -> None:
    harness = RouterHarness({"openai": [WHOLE]})
    items = harness.router.stream(Question(harness.candidates, prompts))
    assert [type(next(items)) for _ in range(3)] == [Asked, Answering, Chunk]
    assert harness.stubs["openai"].closed == 0
    items.close()
    assert harness.stubs["openai"].closed == 1


def test_usage_has_the_cost_by_the_candidates_price() -> None:
    harness = RouterHarness({"openai": [WHOLE]})
    harness.candidates = [Candidate("openai", "m", TRAITS, Price(1_000_000, 2_000_000))]
    assert harness.read()[-1] == Usage(1, 2, cost=5.0)


class TestShortAnswer:
    """Short answers that no reader follows."""

    PROMPT = Prompt("bedrock-model", (PromptMessage("user", "?"),), 10, tool=Tool("name", "", {"type": "object"}))

    def test_is_recorded_with_who_gave_it(self) -> None:
        harness = RouterHarness({"bedrock": []}, replies={"name": WholeAnswer("", {}, Usage(1, 2))})
        calls: list[PaidCall] = []
        assert harness.router.answer(self.PROMPT, "title", calls.append).usage == Usage(1, 2)
        assert calls == [PaidCall(1, 2, purpose="title", provider="bedrock", model="bedrock-model")]

    def test_comes_from_the_next_candidate_if_the_first_fails(self) -> None:
        settings: dict[str, Any] = {"openai_model": "gpt", "openai_api_key": "k", "model_id": "bedrock-model"}
        harness = RouterHarness({"openai": [], "bedrock": []}, **settings)
        harness.stubs["openai"].replies = {"name": AWAY}
        harness.stubs["bedrock"].replies = {"name": WholeAnswer("", {}, Usage(1, 2))}
        calls: list[PaidCall] = []
        harness.router.answer(self.PROMPT, "title", calls.append)
        assert [call.provider for call in calls] == ["bedrock"]
        assert harness.stubs["openai"].questions[0].model == "gpt"

    def test_with_a_tool_is_not_asked_of_a_service_without_tools(self) -> None:
        harness = RouterHarness({"rlm": [], "bedrock": []}, replies={"name": WholeAnswer("", {}, Usage(1, 2))})
        harness.router.answer(self.PROMPT, "title", list[PaidCall]().append)
        assert (harness.stubs["rlm"].questions, len(harness.stubs["bedrock"].questions)) == ([], 1)

    def test_raises_the_last_failure(self) -> None:
        harness = RouterHarness({"bedrock": []}, replies={"name": BUSY})
        with pytest.raises(ProviderError) as raised:
            harness.router.answer(self.PROMPT, "title", list[PaidCall]().append)
        assert raised.value.code == "provider_throttled"


class TestBreaker:
    """The breaker of each candidate, in a real Redis."""

    @pytest.fixture
    def away(self, valkey: ValkeyProcess) -> RouterHarness:
        """A router whose first candidate has failed often enough to be passed over, and whose second one works."""
        settings: dict[str, Any] = {
            "redis_url": valkey.url,
            "breaker_failures": 2,
            "breaker_open_seconds": 0.2,
            "breaker_probe_seconds": 1,
            "start_seconds": 1,
        }
        harness = RouterHarness({"openai": [[AWAY], [AWAY], WHOLE], "bedrock": [WHOLE]}, **settings)
        for _ in range(2):
            harness.read()
        return harness

    def test_a_candidate_that_failed_too_often_is_passed_over_until_a_probe_succeeds(self, away: RouterHarness) -> None:
        first, second = away.candidates
        assert away.read()[0] == Retrying(second, "provider_unavailable")
        assert len(away.stubs["openai"].prompts) == 2
        wait_until(lambda: away.read()[0] == Answering(first), "the probe")
        assert away.read()[0] == Answering(first)

    def test_an_interrupted_probe_gives_way_to_the_next_one(self, away: RouterHarness) -> None:
        away.stubs["openai"].scripts = [[lambda: gevent.sleep(60)]]

        def has_probed() -> bool:
            with suppress(gevent.Timeout), gevent.Timeout(0.3):
                away.read()
            return len(away.stubs["openai"].prompts) >= 4

        wait_until(has_probed, "two probes, both interrupted")

    def test_the_last_candidate_is_never_passed_over(self, valkey: ValkeyProcess) -> None:
        scripts: dict[str, list[list[Step]]] = {"openai": [[AWAY]], "bedrock": [[AWAY]]}
        harness = RouterHarness(scripts, redis_url=valkey.url, breaker_failures=1, tries=1)
        for calls in (1, 2, 3):
            assert harness.fail() == "provider_unavailable"
            assert len(harness.stubs["bedrock"].prompts) == calls
        assert len(harness.stubs["openai"].prompts) == 1

    def test_an_only_candidate_has_no_breaker(self, valkey: ValkeyProcess) -> None:
        harness = RouterHarness({"openai": [[AWAY]]}, redis_url=valkey.url, breaker_failures=1, tries=1)
        assert harness.fail() == harness.fail() == "provider_unavailable"
        assert harness.breaker.read_states() == []

    def test_only_failures_of_the_provider_itself_count(self, valkey: ValkeyProcess) -> None:
        codes: dict[ErrorCode, int] = {
            **dict.fromkeys(("provider_unavailable", "provider_timeout", "provider_authentication", "truncated"), 1),
            **dict.fromkeys(("provider_rejected", "provider_throttled", "empty_answer"), 3),
            "context_too_long": 6,  # each time once more, with a shorter prompt
        }
        for code, calls in codes.items():
            failing: list[Step] = [ProviderError(code, retryable=True)]
            harness = RouterHarness(
                {"openai": [failing], "bedrock": [WHOLE]}, redis_url=valkey.url, breaker_failures=1, tries=1
            )
            harness.candidates[0] = Candidate("openai", f"fails-with-{code}", TRAITS)
            for _ in range(3):
                harness.read()
            assert len(harness.stubs["openai"].prompts) == calls, code


def test_an_interrupt_reaches_the_stream_of_any_candidate() -> None:
    harness = RouterHarness({"openai": [[lambda: gevent.sleep(60)]], "bedrock": [WHOLE]})
    started = time.monotonic()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        harness.read()
    assert time.monotonic() - started < 30
    assert harness.stubs["openai"].closed == 1
    assert harness.stubs["bedrock"].prompts == []


def test_a_use_of_a_tool_is_content() -> None:
    harness = RouterHarness({"openai": [[ToolUse("1", "look", {}), AWAY]], "bedrock": [WHOLE]})
    assert harness.fail() == "provider_unavailable"


def test_reasoning_before_the_first_content_is_no_beginning_and_follows_who_answers() -> None:
    first: list[Step] = [ReasoningBlock({"a": 1}), AWAY]
    second: list[Step] = [ReasoningBlock({"b": 2}), *WHOLE]
    harness = RouterHarness({"openai": [first], "gemini": [second]})
    found = harness.read()
    assert ReasoningBlock({"a": 1}) not in found, "an abandoned call leaves nothing"
    at = next(index for index, item in enumerate(found) if isinstance(item, Answering))
    assert found[at + 1 : at + 3] == [ReasoningBlock({"b": 2}), Chunk("a")]
