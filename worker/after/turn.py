"""A completed turn, and the prompts that ask the small model about it."""

from dataclasses import dataclass

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.schema import Settings

EXCERPT_CHARS = 6000  # of the question, and as many of the answer: the small model's input has to stay small
_ELLIPSIS = "\n[…]\n"


@dataclass(frozen=True)
class CompletedTurn:
    """A question and its complete answer; neither text is blank."""

    generation: str
    owner: str
    conversation: str
    question: str
    answer: str


def completed_turn(generation: str, owner: str, conversation: str, question: str, answer: str) -> CompletedTurn | None:
    """Return the turn; None if the question or the answer is blank."""
    if not question.strip() or not answer.strip():
        return None
    return CompletedTurn(generation, owner, conversation, question, answer)


def build_prompt(
    turn: CompletedTurn,
    settings: Settings,
    instruction: str,
    tool: Tool,
    max_tokens: int,
    *,
    system: tuple[str, ...] = (),
) -> Prompt:
    """Return a prompt of the turn followed by the instruction, with `tool` forced.

    Question and answer are messages of their own, in their own roles, so that neither can pass for the instruction.
    """
    return Prompt(
        model=settings.small_model,
        messages=(
            PromptMessage("user", excerpt(turn.question)),
            PromptMessage("assistant", excerpt(turn.answer)),
            PromptMessage("user", instruction),
        ),
        max_tokens=max_tokens,
        system=system,
        tool=tool,
    )


def excerpt(text: str) -> str:
    """Return the text; of one longer than `EXCERPT_CHARS` only the beginning and the end."""
    if len(text) <= EXCERPT_CHARS:
        return text
    half = EXCERPT_CHARS // 2
    return text[:half] + _ELLIPSIS + text[-half:]
