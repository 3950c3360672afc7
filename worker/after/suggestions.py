"""Thinks of what the user may want to ask next."""

import msgspec

from millrace.worker.after.turn import CompletedTurn, one_line, prompt_about
from millrace.worker.contract.events import Suggestions
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Tool

COUNT = 3
SUGGESTION_CHARS = 160
_TOKENS = 400

_TOOL = Tool(
    "suggest_questions",
    "Suggests what the user may ask next.",
    {
        "type": "object",
        "properties": {
            "suggestions": {
                "type": "array",
                "items": {"type": "string", "maxLength": SUGGESTION_CHARS},
                "minItems": COUNT,
                "maxItems": COUNT,
            }
        },
        "required": ["suggestions"],
    },
)
_INSTRUCTION = (
    f"Suggest {COUNT} short questions that I may want to ask you next, in the language of my message, each as I would "
    "say it myself and answerable from what you know."
)


class _Suggested(msgspec.Struct, frozen=True):
    suggestions: list[str]


def suggest(process: WorkerProcess, turn: CompletedTurn) -> Suggestions | None:
    """Ask for suggestions; None where none is of use. Raises Failure, msgspec.ValidationError."""
    prompt = prompt_about(turn, process.settings, _INSTRUCTION, _TOOL, _TOKENS)
    suggested = msgspec.convert(process.provider.answer(prompt).tool_input, _Suggested)
    lines = dict.fromkeys(one_line(each, SUGGESTION_CHARS) for each in suggested.suggestions)
    useful = [line for line in lines if line][:COUNT]
    return Suggestions(useful) if useful else None
