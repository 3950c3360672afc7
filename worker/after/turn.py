"""A question and its whole answer, and how the small model is asked about the two."""

from dataclasses import dataclass

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.schema import Settings

EXCERPT_CHARS = 6000  # of the question, and of the answer: a small model's input is to stay small
_LEFT_OUT = "\n[…]\n"


@dataclass(frozen=True)
class CompletedTurn:
    """One turn of a conversation; neither text is blank."""

    generation: str
    owner: str
    conversation: str
    question: str
    answer: str


def prompt_about(
    turn: CompletedTurn,
    settings: Settings,
    instruction: str,
    tool: Tool,
    max_tokens: int,
    *,
    system: tuple[str, ...] = (),
) -> Prompt:
    """Return the prompt that puts an instruction after the turn, and forces the tool.

    The turn's texts stand where they were said, as messages of their own, so that neither can pass for the instruction.
    """
    return Prompt(
        model=settings.models.small,
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
    """Return the text, or, where it is long, its beginning and its end."""
    if len(text) <= EXCERPT_CHARS:
        return text
    half = EXCERPT_CHARS // 2
    return text[:half] + _LEFT_OUT + text[-half:]


def one_line(text: str, most: int) -> str:
    """Return the text on one line of at most `most` characters, without what does not print."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
