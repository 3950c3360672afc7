"""The participants of the log machine, the invariant that holds after each step, and the end of each run."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis.stateful import RuleBasedStateMachine, invariant

from millrace.worker.contract.creation import Draft, create
from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import COMPLETE, SETTINGS, field, is_leased, make_due, new_draft
from tests.worker.contract.reader_model import ReaderModel
from tests.worker.contract.redis_model import RedisModel
from tests.worker.contract.worker_model import Fate, WorkerModel

MAX_FINAL_SWEEPS = (
    20  # a takeover takes two sweeps, and there are three; the others allow takeovers by workers still awake
)


class Participants(RuleBasedStateMachine):
    """Generations, the models of their workers and readers, calls on their way to Redis, and messages in the queue."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self.redis_model = RedisModel(redis)
        self.drafts: list[Draft] = []
        self.workers: list[WorkerModel] = []
        self.readers: list[ReaderModel] = []
        self.in_flight: list[Callable[[], object]] = []
        self.messages: list[str] = []
        self.serial = 0
        self.workers_die = False
        self.is_broken = False

    def create_one(self) -> str:
        draft = new_draft()
        generation = "00" + draft.ids.generation[2:]  # all in one bucket, the only one swept here
        draft = replace(draft, ids=replace(draft.ids, generation=generation))
        self.drafts.append(draft)
        self.redis_model.generations.append(generation)
        assert create(Streams(self.redis_model.redis), draft, SETTINGS).status == "queued"
        self.readers += [ReaderModel(self.redis_model, generation, drops_older=drops) for drops in (True, False)]
        return generation

    def deliver_claim(self, generation: str, fate: Fate) -> None:
        if fate is Fate.REQUEST_LOST:
            return
        state = [field(self.redis_model.redis, generation, name) for name in ("token", "outcome", "cancel", "done")]
        holding = claim(Streams(self.redis_model.redis), generation, SETTINGS)
        if holding is None:
            return
        assert not any(state), "claimed although held, ended or about to be ended"
        self.redis_model.mark(generation)
        if fate is Fate.DELIVERED:
            self.serial += 1
            self.workers.append(WorkerModel(self.redis_model, holding, self.serial))

    def all_awake(self) -> list[WorkerModel]:
        return [holder for holder in self.workers if holder.is_awake]

    def awake(self, place: int) -> WorkerModel:
        """Return one of the holders that are awake; there must be one."""
        awake = self.all_awake()
        return awake[place % len(awake)]

    def generation(self, place: int) -> str:
        return self.redis_model.generations[place % len(self.redis_model.generations)]

    def sweep_once(self) -> None:
        before = self.redis_model.holders()
        self.messages += self.redis_model.sweep_and_mark().to_enqueue
        after = self.redis_model.holders()
        for holder in [each for each in self.all_awake() if not each.must_reclaim]:
            token = holder.claim.token
            assert before[holder.generation] != token or after[holder.generation] == token, "taken from a living holder"

    def expire_all_leases(self) -> None:
        """Renew the leases of the workers that are awake, expire all leases and sweep."""
        for holder in self.workers:
            if holder.has_ended and not self.workers_die:
                holder.check_end_is_kept()
        for holder in self.all_awake():
            holder.renew()
        for generation in self.redis_model.generations:
            if is_leased(self.redis_model.redis, generation):
                make_due(self.redis_model.redis, generation)
        self.sweep_once()

    def deliver_message(self, place: int, fate: Fate) -> None:
        candidates = self.messages or self.redis_model.live or self.redis_model.generations
        generation = candidates[place % len(candidates)]
        self.messages = [each for each in self.messages if each != generation]
        self.deliver_claim(generation, fate)

    def expire_deadlines(self, place: int) -> None:
        generation = self.generation(place)
        if generation in self.redis_model.live and not self.redis_model.holder(generation):
            self.redis_model.expire_deadlines(generation)
            self.sweep_once()

    @invariant()
    def check_logs_and_readers(self) -> None:
        try:
            self.redis_model.check()
            for generation, cursor, data in self.redis_model.published():
                for follower in self.readers:
                    if follower.generation == generation:
                        follower.receive(cursor, data)
            for follower in self.readers:
                follower.check()
            self.redis_model.save()
        except BaseException:
            self.is_broken = True
            raise

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self._run_to_the_end()
        finally:
            self.redis_model.close()

    def _run_to_the_end(self) -> None:
        for holder in self.workers:
            holder.is_running &= not self.workers_die
            holder.is_paused = False
        for _ in range(MAX_FINAL_SWEEPS):
            for holder in self.all_awake():
                self._finish(holder)
            if self.workers_die:
                for generation in [each for each in self.redis_model.live if not self.redis_model.holder(each)]:
                    self.redis_model.expire_deadlines(generation)
            self.expire_all_leases()
            while self.messages:
                self.deliver_claim(self.messages.pop(), Fate.REQUEST_LOST if self.workers_die else Fate.DELIVERED)
            self.check_logs_and_readers()
            if not self.redis_model.live:
                break
        assert not self.redis_model.live, "a generation never ends"
        for follower in self.readers:
            follower.compare_with_log()
            follower.check()
            assert follower.is_done or not self.redis_model.exists(follower.generation), "a reader never received done"

    def _finish(self, holder: WorkerModel) -> None:
        if holder.must_reclaim:
            holder.reclaim(Fate.DELIVERED)
        elif holder.outcome is None:
            holder.generate()
            holder.end(COMPLETE)
        if holder.is_running and not holder.must_reclaim:
            holder.send(holder.batch(0, len(holder.queue)), Fate.DELIVERED)
