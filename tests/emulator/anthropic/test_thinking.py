"""Thinking that is sent back: only unaltered, at the beginning of a message, and to a model that may think."""

from typing import Any

import pytest

from deploy.emulator.anthropic.thinking import check_thinking
from deploy.emulator.faults import ServiceError
from deploy.emulator.signature import sign

TEXT = {"type": "text", "text": "Noon."}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": sign("Hm.")}
REDACTED = {"type": "redacted_thinking", "data": "b3Bh"}


def check(*blocks: dict[str, Any], model: str = "m", is_disabled: bool = False) -> None:
    check_thinking([[TEXT], list(blocks)], model, is_disabled=is_disabled)


def test_unaltered_blocks_before_a_text_are_accepted() -> None:
    check(THOUGHT, REDACTED, TEXT)
    check(TEXT, is_disabled=True)


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([THOUGHT | {"thinking": "Hm"}, TEXT], "messages.1.content.0: Invalid `signature`"),
        ([THOUGHT | {"signature": ""}, TEXT], "Invalid `signature`"),
        ([THOUGHT, REDACTED | {"data": "?"}, TEXT], "messages.1.content.1: Invalid `data`"),
        ([TEXT, THOUGHT, TEXT], "the first block must be"),
        ([THOUGHT], "final block"),
    ],
)
def test_altered_or_misplaced_blocks_are_rejected(blocks: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(ServiceError, match=reason):
        check(*blocks)


def test_model_that_may_not_think_takes_no_blocks() -> None:
    with pytest.raises(ServiceError, match="thinking is disabled"):
        check(THOUGHT, TEXT, is_disabled=True)
    with pytest.raises(ServiceError, match="thinking is disabled"):
        check(THOUGHT, TEXT, model="a-no-thinking-model")
