"""Plain numbers that the relay counts as it works; a collector reads them when the metrics are asked for."""

from collections import Counter


class RelayCounts:
    """The events that the relay of one mount has received, sent and repaired so far."""

    def __init__(self) -> None:
        self.watched_events = self.watched_bytes = 0  # published events of generations that have readers here
        self.unwatched_events = self.unwatched_bytes = 0
        self.sent_events = self.sent_bytes = 0
        self.new_readers = self.resumed_readers = 0
        self.log_reads = 0
        self.repairs: Counter[str] = Counter({"gap": 0, "lost": 0})
