"""What of a turn is to be remembered of the user: asked of the small model, by a forced tool."""

from collections.abc import Iterable

import msgspec

from millrace.worker.after.turn import CompletedTurn, one_line, prompt_about
from millrace.worker.context.escaping import element
from millrace.worker.providers.protocol import Provider, Tool
from millrace.worker.settings.schema import Settings

MOST_FACTS = 10
FACT_CHARS = 300
_TOKENS = 1200

_TOOL = Tool(
    "remember_facts",
    "Remembers facts about the user.",
    {
        "type": "object",
        "properties": {
            "facts": {
                "type": "array",
                "items": {"type": "string", "maxLength": FACT_CHARS},
                "maxItems": MOST_FACTS,
                "description": "one sentence each, empty where there is nothing to remember",
            }
        },
        "required": ["facts"],
    },
)
_INSTRUCTION = (
    "Remember what my message tells of me that will still be true and of use in a later conversation: who I am, whom "
    "and what I deal with, what I want and like. Each fact stands for itself, in one sentence about the user, in the "
    "language of my message. Leave out what is of this moment only, what you said, what is known already, and "
    "passwords, keys and numbers of cards and accounts. Often there is nothing to remember."
)


class _Told(msgspec.Struct, frozen=True):
    facts: list[str]


def find_facts(provider: Provider, settings: Settings, turn: CompletedTurn, known: Iterable[str]) -> list[str]:
    """Return the facts, none of them blank, often none; `known` are those that need not be told again.

    Raises Failure, msgspec.ValidationError.
    """
    lines = "\n".join(one_line(fact, FACT_CHARS) for fact in known)
    system = (f"What is known of the user already:\n{element('known_facts', lines)}",) if lines else ()
    prompt = prompt_about(turn, settings, _INSTRUCTION, _TOOL, _TOKENS, system=system)
    told = msgspec.convert(provider.answer(prompt).tool_input, _Told)
    facts = dict.fromkeys(one_line(fact, FACT_CHARS) for fact in told.facts)
    return [fact for fact in facts if fact][:MOST_FACTS]
