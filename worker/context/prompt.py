"""Builds the prompt: the configured instructions, the request's own, its messages."""

from worker.contract.request import Request
from worker.contract.settings import Settings
from worker.providers.protocol import Prompt


def build_prompt(request: Request, settings: Settings) -> Prompt:
    """Return what the model is asked for this request."""
    return Prompt(
        model=request.model,
        messages=tuple(request.messages),
        max_tokens=request.max_tokens,
        system=tuple(text for text in (settings.system_prompt, request.system) if text),
        temperature=request.temperature,
        top_p=request.top_p,
        stop_sequences=tuple(request.stop_sequences or ()),
    )
