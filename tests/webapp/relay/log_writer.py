"""A writer of logs: appends events as a worker does, or as a worker whose PUBLISH is lost."""

from millrace.worker.contract.creation import Draft, Ids, create, new_ids
from millrace.worker.contract.events import AnyEvent, Chunk, Complete, Done, Latency, Usage, encode, kind_of
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import ClaimedGeneration, claim, reclaim
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, OnDisconnect, PromptMessage
from millrace.worker.settings.schema import Settings

COMPLETE = Complete("live", "end_turn", Usage(1, 1), Latency(1, 2), "m", "bedrock", "mid", stored=True)
DONE = Done("completed")


class LogWriter:
    """A generation with its worker; `last` is the id of the newest event."""

    def __init__(self, redis: Redis, settings: Settings, on_disconnect: OnDisconnect = "continue") -> None:
        self.redis = redis
        self.settings = settings
        self.ids: Ids = new_ids()
        self.generation = self.ids.generation
        request = ModelRequest([PromptMessage("user", "hello")], "m", 100)
        create(Streams(redis), Draft(self.ids, "owner", request, on_disconnect, 60.0), settings)
        claimed = claim(Streams(redis), self.generation, settings)
        assert claimed is not None
        self.claimed: ClaimedGeneration = claimed
        self.claim = claimed.claim
        self.last = Cursor(0, 1)

    def write(self, *events: AnyEvent) -> None:
        """Append events, and publish them."""
        appends: list[Append] = []
        for event in events:
            self.last = Cursor(self.claim.epoch, self.last.seq + 1)
            appends.append(Append(self.claim, self.last.seq, kind_of(event), encode(event)))
        for answer in append_all(self.redis, appends, 3_600_000):
            assert isinstance(answer, AppendResult), answer
            assert answer.verdict is Verdict.APPENDED, answer

    def write_silently(self, *events: AnyEvent) -> None:
        """Append events whose PUBLISH is lost."""
        keys = keys_of(self.generation)
        for event in events:
            self.last = Cursor(self.claim.epoch, self.last.seq + 1)
            self.redis.xadd(keys.log, {"d": encode(event)}, id=str(self.last))
            self.redis.hset(keys.state, "top", str(self.last))
            if isinstance(event, Complete):
                self.redis.hset(keys.state, mapping={"outcome": "complete", "status": "completed"})
            if isinstance(event, Done):
                self.redis.hset(keys.state, "done", "1")

    def chunks(self, *texts: str) -> None:
        """Append chunks."""
        self.write(*(Chunk(text) for text in texts))

    def end(self) -> None:
        """Append the outcome and `done`."""
        self.write(COMPLETE, DONE)

    def reclaim(self) -> None:
        """Claim again, as after a loss of data."""
        again = reclaim(self.redis, self.claimed, self.claim, self.settings)
        assert again is not None
        self.claim, self.last = again.claim, again.top
