"""Signatures of reasoning, which vendors send with it and want back with it, unaltered."""

from uuid import NAMESPACE_OID, uuid5

_HALF = 16  # hexadecimal digits


def sign(text: str) -> str:
    """Return the signature of a text: its hash, and a hash of that, by which a signature alone is known."""
    head = _digest(ascii(text))
    return head + _digest(head)


def is_signature(value: str) -> bool:
    """Return whether a signature is one of ours, whichever text it belongs to."""
    return value[_HALF:] == _digest(value[:_HALF])


def _digest(text: str) -> str:
    return uuid5(NAMESPACE_OID, text).hex[:_HALF]
