"""Ids in OpenAI's form: a prefix, which says what the id names, before one of ours."""

from typing import Literal

Prefix = Literal["chatcmpl-", "resp_", "msg_", "rs_", "fc_"]

COMPLETION: Prefix = "chatcmpl-"
RESPONSE: Prefix = "resp_"
MESSAGE: Prefix = "msg_"
REASONING: Prefix = "rs_"
FUNCTION_CALL: Prefix = "fc_"


def id_of(prefix: Prefix, ours: str, number: int | None = None) -> str:
    """Return one of our ids in OpenAI's form; a number tells several items of one generation apart."""
    return f"{prefix}{ours}" if number is None else f"{prefix}{ours}_{number}"


def own_id(prefix: Prefix, theirs: str) -> str:
    """Return our id in one of OpenAI's form; one of ours, which another protocol's client has, is returned as it is."""
    return theirs.removeprefix(prefix)
