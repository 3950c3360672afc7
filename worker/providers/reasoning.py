"""Reasoning that goes back to the model that gave it: which messages carry it, and requests without it. Pure.

https://docs.claude.com/en/docs/build-with-claude/extended-thinking
https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from millrace.worker.contract.request import PromptMessage, ReasoningState, without_reasoning
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import Prompt

_FIELDS = ("thinking", "reasoning_config", "reasoningConfig")  # the names that models have for it

_log = get_logger(__name__)

T = TypeVar("T")


def asks_for_reasoning(fields: Any) -> bool | None:
    """Return whether the operator's members of a request switch reasoning on; None if they leave it to the model."""
    given = map(cast("dict[str, Any]", fields).get, _FIELDS) if isinstance(fields, Mapping) else ()
    configs = [cast("dict[str, Any]", each) for each in given if isinstance(each, Mapping)]
    return configs[0].get("type") != "disabled" if configs else None


def may_reason(asks: bool | None, state: ReasoningState) -> bool:
    """Return whether a request that asks like this lets the model reason, as the one did that the reasoning is of."""
    return asks is True or (asks is None and not state.is_requested)


def has_reasoning(prompt: Prompt) -> bool:
    """Return whether any message carries reasoning."""
    return any(message.reasoning is not None for message in prompt.messages)


def keep_reasoning(prompt: Prompt, is_welcome: Callable[[ReasoningState], bool]) -> Prompt:
    """Return the prompt with only the reasoning that the request may carry."""
    if not has_reasoning(prompt):
        return prompt
    messages = (
        each if each.reasoning is not None and is_welcome(each.reasoning) else without_reasoning(each)
        for each in prompt.messages
    )
    return replace(prompt, messages=tuple(messages))


def drop_reasoning(prompt: Prompt) -> Prompt:
    """Return the prompt without any reasoning."""
    return keep_reasoning(prompt, lambda _state: False)


def blocks_before(messages: Iterable[PromptMessage]) -> list[dict[str, Any]]:
    """Return the blocks at the beginning of messages of one role that become one: only there they are accepted."""
    first = next(iter(messages), None)
    return [] if first is None or first.reasoning is None else list(first.reasoning.blocks)


def ask_again_without(prompt: Prompt, ask: Callable[[Prompt], T], may_refuse: Callable[[ProviderError], bool]) -> T:
    """Return the result; a request that is refused with reasoning is made again without it.

    Otherwise signatures that a service does not accept any more would end every later answer of the conversation.
    """
    try:
        return ask(prompt)
    except ProviderError as error:
        if not has_reasoning(prompt) or not may_refuse(error):
            raise
        _log.warning("reasoning_refused", model=prompt.model)
    return ask(drop_reasoning(prompt))
