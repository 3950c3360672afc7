"""Facts learned of the user in any conversation, found again for this question by full-text search."""

from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.source import ContextPart, ContextQuestion, Material


class Memory:
    """The owner's memories that have to do with the question."""

    name = "memory"

    def __init__(self, reader: ContextLoader) -> None:
        self.seconds = reader.seconds
        self._reader = reader

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the best of them, None where none has a word of the question's; raises DatabaseUnavailable."""
        facts = self._reader.kept(question).facts
        return ContextPart(materials=tuple(Material("memory", fact) for fact in facts)) if facts else None
