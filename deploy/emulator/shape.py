"""The seam between an answer and its wire format: one shape for Converse, one for Anthropic's messages."""

from dataclasses import dataclass
from typing import Any, Protocol

from deploy.emulator.answer import Answer, Block
from deploy.emulator.request import Request


@dataclass(frozen=True)
class Timing:
    """Milliseconds since the request: of the first delta, and of the end."""

    first_ms: int
    total_ms: int


class Shape(Protocol):
    """How one family of operations says an answer, in event-stream messages or in one JSON object."""

    def opening(self, request: Request, answer: Answer) -> list[bytes]:
        """Return what comes before the first block."""
        ...

    def block_start(self, index: int, block: Block) -> list[bytes]:
        """Return what comes before a block's deltas; nothing in some formats."""
        ...

    def delta(self, index: int, block: Block, text: str) -> bytes:
        """Return one delta."""
        ...

    def signature(self, index: int, signature: str) -> bytes:
        """Return the delta that signs a reasoning block."""
        ...

    def block_stop(self, index: int) -> bytes:
        """Return what comes after a block's deltas."""
        ...

    def closing(self, answer: Answer, timing: Timing) -> list[bytes]:
        """Return what comes after the last block."""
        ...

    def whole(self, request: Request, answer: Answer, timing: Timing) -> dict[str, Any]:
        """Return the answer of the operation that does not stream."""
        ...
