"""Builds the prompt: the configured instructions, the request's own, its messages, the beginning of the answer."""

from worker.contract.request import Message, Request
from worker.contract.settings import Settings
from worker.providers.protocol import Prompt


def build_prompt(request: Request, settings: Settings, prefill: str = "") -> Prompt:
    """Return what the model is asked for this request: to answer, or to go on from `prefill` as its own words.

    https://docs.claude.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response
    """
    return Prompt(
        model=request.model,
        messages=(*request.messages, *([Message("assistant", prefill)] if prefill else [])),
        max_tokens=request.max_tokens,
        system=tuple(text for text in (settings.system_prompt, request.system) if text),
        temperature=request.temperature,
        top_p=request.top_p,
        stop_sequences=tuple(request.stop_sequences or ()),
    )
