"""A model of a reader, with the relay's rule for the events that it is sent."""

from millrace.worker.contract.events import Done, Snapshot, Title, decode, kind_of
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import LogEntry, read, read_transcript
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.transcript import Transcript, fold
from tests.worker.contract.redis_model import RedisModel, is_of_one_attempt

OUTCOMES = ("complete", "cancelled", "error")


class ReaderModel:
    """One reader of one generation: its cursor and the transcript it has assembled."""

    def __init__(self, redis_model: RedisModel, generation: str, *, drops_older: bool) -> None:
        self.redis_model = redis_model
        self.generation = generation
        self.drops_older = drops_older
        self.missed_messages = 0
        self.last = START
        self.transcript = Transcript()
        self.repair()

    @property
    def is_done(self) -> bool:
        return self.transcript.is_done

    def receive(self, cursor: Cursor, data: bytes) -> None:
        """Take a live message if it is the next one; otherwise read the log."""
        if self.is_done:
            return
        if self.missed_messages:
            self.missed_messages -= 1
        elif cursor == Cursor(self.last.epoch, self.last.seq + 1):
            self._take(LogEntry(cursor, data))
        elif not (self.drops_older and cursor <= self.last):
            self.repair()

    def compare_with_log(self) -> None:
        """Compare with the top of the log, as the relay periodically does for silent channels."""
        if not self.is_done:
            self.repair()

    def repair(self) -> None:
        run = read(Streams(self.redis_model.redis), self.generation, self.last)
        if run.is_joined:
            for entry in run.entries:
                self._take(entry)
            return
        entries = read(Streams(self.redis_model.redis), self.generation).entries
        if not entries:
            return  # nothing can be sent until the holder reclaims or the relay gives up
        ends = [place for place, entry in enumerate(entries) if kind_of(decode(entry.data)) in OUTCOMES]
        last_before_the_end = entries[(ends or [len(entries)])[0] - 1].cursor
        transcript, cursor = read_transcript(Streams(self.redis_model.redis), self.generation, last_before_the_end)
        assert cursor == last_before_the_end
        self.transcript, self.last = fold([transcript.snapshot("gap")]), cursor
        for entry in entries:
            if entry.cursor > cursor:
                self._take(entry)

    def _take(self, entry: LogEntry) -> None:
        event = decode(entry.data)
        assert entry.cursor > self.last, "an event is out of order"
        assert isinstance(event, Snapshot) or entry.cursor.seq == self.last.seq + 1, "an event is missing"
        assert not self.is_done, "an event after done"
        assert self.transcript.outcome is None or isinstance(event, Title | Done), "an event after the outcome"
        self.transcript.apply(event)
        self.last = entry.cursor

    def check(self) -> None:
        """Compare the text with the log's text at this cursor."""
        text = self.transcript.content
        assert text == self.redis_model.text_at(self.generation, self.last), f"{text} at {self.last}"
        assert is_of_one_attempt(text), f"text of several attempts: {text}"
        assert not self.is_done or self.transcript.outcome is not None
