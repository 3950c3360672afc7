"""Stop sequences, applied here for models and services that do not take them. Pure."""

from collections.abc import Generator, Iterable

from millrace.worker.contract.events import Chunk, ToolUse
from millrace.worker.providers.protocol import Delta, Stopped


class StopSequenceFinder:
    """Passes a text on in pieces, up to the first stop sequence in it.

    A piece that may be the beginning of a sequence is kept until the next piece decides.
    """

    def __init__(self, sequences: Iterable[str]) -> None:
        self._sequences = [each for each in sequences if each]
        self._kept = ""
        self.has_stopped = False

    def take(self, text: str) -> str:
        """Return the text that is no part of a stop sequence, for sure."""
        text = self._kept + text
        found = [at for each in self._sequences if (at := text.find(each)) >= 0]
        if found:
            self.has_stopped, self._kept = True, ""
            return text[: min(found)]
        kept = max((_overlap(text, each) for each in self._sequences), default=0)
        self._kept = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """Return the text that is still kept, at the end of the answer."""
        rest, self._kept = self._kept, ""
        return rest


def _overlap(text: str, sequence: str) -> int:
    """Return the length of the longest end of the text that begins the sequence, but is not all of it."""
    longest = min(len(text), len(sequence) - 1)
    return next((size for size in range(longest, 0, -1) if sequence.startswith(text[-size:])), 0)


def stop_at(sequences: tuple[str, ...], deltas: Iterable[Delta]) -> Generator[Delta]:
    """Yield the deltas up to the first stop sequence in their text, then `Stopped`."""
    finder = StopSequenceFinder(sequences)
    for delta in deltas:
        if isinstance(delta, Chunk):
            text = finder.take(delta.content)
            if text:
                yield Chunk(text)
            if finder.has_stopped:
                yield Stopped("stop_sequence")
                return
            continue
        if isinstance(delta, Stopped | ToolUse) and (rest := finder.rest()):
            yield Chunk(rest)
        yield delta
    if rest := finder.rest():
        yield Chunk(rest)
