"""Suggestions: questions that the user may want to ask next."""

from collections.abc import Callable

from millrace.worker.after.turn import CompletedTurn, build_prompt
from millrace.worker.contract.events import PaidCall, Suggestions
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Tool
from millrace.worker.text.lines import to_line
from millrace.worker.text.replies import texts_in

COUNT = 3
SUGGESTION_CHARS = 160
_MAX_TOKENS = 400

_TOOL = Tool(
    "suggest_questions",
    "Suggests questions that the user may ask next.",
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
    f"Suggest {COUNT} short questions that I may want to ask you next. Write them in the language of my message and in "
    "my own voice. You must be able to answer each of them from what you know."
)


def suggest_questions(
    process: WorkerProcess, turn: CompletedTurn, on_paid_call: Callable[[PaidCall], None]
) -> Suggestions | None:
    """Ask the small model for suggestions; None if it returns only blank ones.

    Raises GenerationFailed.
    """
    prompt = build_prompt(turn, process.settings, _INSTRUCTION, _TOOL, _MAX_TOKENS)
    texts = texts_in(process.router.answer(prompt, "suggestions", on_paid_call).tool_input, "suggestions")
    lines = dict.fromkeys(to_line(text, SUGGESTION_CHARS) for text in texts)
    suggestions = [line for line in lines if line][:COUNT]
    return Suggestions(suggestions) if suggestions else None
