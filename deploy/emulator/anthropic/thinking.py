"""Thinking that a client sends back: it must be as it was, at the beginning of its message, before something else."""

from base64 import b64decode

from deploy.emulator.anthropic.errors import invalid_request
from deploy.emulator.request import Json
from deploy.emulator.signature import sign

_KINDS = ("thinking", "redacted_thinking")
_NO_THINKING = "no-thinking"  # in the id of a model that does not think


def check_thinking(messages: list[list[Json]], model: str, *, is_disabled: bool) -> None:
    """Raise ServiceError for a block that is altered, out of its place, or sent although the model may not think.

    `messages` holds the content blocks of each message. A vendor checks a block by its signature alone.
    """
    for index, blocks in enumerate(messages):
        places = [place for place, block in enumerate(blocks) if block.get("type") in _KINDS]
        if not places:
            continue
        where = f"messages.{index}"
        if is_disabled or _NO_THINKING in model:
            raise invalid_request(
                f"{where}.content.{places[0]}: When thinking is disabled, an `assistant` message in the final position "
                "cannot contain `thinking`. To use thinking blocks, enable `thinking` in your request."
            )
        if places[0] != 0:
            raise invalid_request(
                f"{where}.content.0: If an assistant message contains any thinking blocks, the first block must be "
                f"`thinking` or `redacted_thinking`. Found `{blocks[0].get('type')}`."
            )
        if places[-1] == len(blocks) - 1:
            raise invalid_request(f"{where}: The final block in an assistant message cannot be `thinking`.")
        for place in places:
            _check_block(blocks[place], f"{where}.content.{place}")


def _check_block(block: Json, where: str) -> None:
    kind = block["type"]
    if kind == "thinking" and block.get("signature") != sign(str(block.get("thinking"))):
        raise invalid_request(f"{where}: Invalid `signature` in `thinking` block")
    if kind == "redacted_thinking" and not _is_base64(block.get("data")):
        raise invalid_request(f"{where}: Invalid `data` in `redacted_thinking` block")


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(b64decode(value, validate=True))
    except ValueError:
        return False
