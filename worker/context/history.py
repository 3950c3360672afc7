"""What was said before in the conversation that the question belongs to, and the JSON context that is kept with it."""

from itertools import chain

from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.source import ContextPart, ContextQuestion
from millrace.worker.contract.request import PromptMessage


class History:
    """The newest turns; how many of them the prompt has is for the budget to say."""

    name = "history"

    def __init__(self, reader: ContextLoader) -> None:
        self.seconds = reader.seconds
        self._reader = reader

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the turns before the question and the conversation's context, None where there is neither.

        Raises DatabaseUnavailable.
        """
        kept = self._reader.kept(question)
        said = ((PromptMessage("user", turn.question), PromptMessage("assistant", turn.answer)) for turn in kept.turns)
        history = tuple(chain.from_iterable(said))
        return ContextPart(history=history, slots=kept.slots or None) if history or kept.slots else None
