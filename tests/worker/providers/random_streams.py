"""The common parts of the tests of random streams: the outcomes that are allowed, and a response of given bytes."""

from collections.abc import Iterable, Sequence

from millrace.worker.contract.events import Complete, Error
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import MESSAGES

CODES = MESSAGES.keys() - {"internal", "worker_lost", "queue_timeout", "stream_lost", "limit_exceeded"}


class RawStream:
    """A response's bytes as urllib3 delivers them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def stream(self) -> Iterable[bytes]:
        return self._pieces

    def close(self) -> None:
        pass


def check_outcome(transcript: Transcript, texts: Sequence[str]) -> None:
    """Assert that the answer is complete with all the texts, or failed at the provider after some of them."""
    if isinstance(transcript.outcome, Complete):
        assert transcript.content == "".join(texts)
    else:
        assert isinstance(transcript.outcome, Error)
        assert transcript.outcome.code in CODES
        assert transcript.content in ["".join(texts[:end]) for end in range(len(texts) + 1)]
