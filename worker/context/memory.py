"""Facts learned of the user in any conversation, found again for this question by full-text search."""

from millrace.worker.context.kept import Reader
from millrace.worker.context.source import Material, Piece, Question


class Memory:
    """The owner's memories that have to do with the question."""

    name = "memory"

    def __init__(self, reader: Reader) -> None:
        self.seconds = reader.seconds
        self._reader = reader

    def gather(self, question: Question) -> Piece | None:
        """Return the best of them, None where none has a word of the question's; raises StoreAway."""
        facts = self._reader.kept(question).facts
        return Piece(materials=tuple(Material("memory", fact) for fact in facts)) if facts else None
