"""Who takes part in the machine, what must hold of them after every step, and how every run is brought to its end."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis.stateful import RuleBasedStateMachine, invariant

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.creation import Draft, create
from millrace.worker.contract.lease import claim
from tests.worker.contract.follower import Follower
from tests.worker.contract.holder import Fate, Holder
from tests.worker.contract.samples import COMPLETE, SETTINGS, field, is_leased, let_time_come, new_draft
from tests.worker.contract.world import World

LOOKS_UNTIL_THE_END = 20  # a takeover takes two, and there are three; the rest are takeovers by those still awake


class Scene(RuleBasedStateMachine):
    """Generations, their holders and followers, what is on its way to Redis, and the rings nobody has answered."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self.world = World(redis)
        self.drafts: list[Draft] = []
        self.holders: list[Holder] = []
        self.followers: list[Follower] = []
        self.in_flight: list[Callable[[], object]] = []
        self.rings: list[str] = []
        self.serial = 0
        self.workers_die = False
        self.is_broken = False

    def make_one(self) -> str:
        draft = new_draft()
        generation = "00" + draft.ids.generation[2:]  # all in one bucket, which is all that is swept here
        draft = replace(draft, ids=replace(draft.ids, generation=generation))
        self.drafts.append(draft)
        self.world.generations.append(generation)
        assert create(self.world.redis, draft, SETTINGS) == "queued"
        self.followers += [Follower(self.world, generation, drops_older=drops) for drops in (True, False)]
        return generation

    def claim_of(self, generation: str, fate: Fate) -> None:
        if fate is Fate.REQUEST_LOST:
            return
        state = [field(self.world.redis, generation, name) for name in ("token", "outcome", "cancel", "done")]
        holding = claim(self.world.redis, generation, SETTINGS)
        if holding is None:
            return
        assert not any(state), "claimed although held, ended or to be ended"
        self.world.mark(generation)
        if fate is Fate.HEARD:
            self.serial += 1
            self.holders.append(Holder(self.world, holding, self.serial))

    def all_awake(self) -> list[Holder]:
        return [holder for holder in self.holders if holder.is_awake]

    def awake(self, place: int) -> Holder:
        """Return one of the holders that do something just now; there must be one."""
        awake = self.all_awake()
        return awake[place % len(awake)]

    def generation(self, place: int) -> str:
        return self.world.generations[place % len(self.world.generations)]

    def sweep_once(self) -> None:
        before = self.world.holders()
        self.rings += self.world.look().to_enqueue
        after = self.world.holders()
        for holder in [each for each in self.all_awake() if not each.must_reclaim]:
            token = holder.claim.token
            assert before[holder.generation] != token or after[holder.generation] == token, "taken from a living holder"

    def let_all_leases_pass(self) -> None:
        """Let leases run out, though those awake renewed theirs in time, and sweep."""
        for holder in self.holders:
            if holder.has_ended and not self.workers_die:
                holder.look_back()
        for holder in self.all_awake():
            holder.renew()
        for generation in self.world.generations:
            if is_leased(self.world.redis, generation):
                let_time_come(self.world.redis, generation)
        self.sweep_once()

    def answer_a_ring(self, place: int, fate: Fate) -> None:
        rung = self.rings or self.world.live or self.world.generations
        generation = rung[place % len(rung)]
        self.rings = [each for each in self.rings if each != generation]
        self.claim_of(generation, fate)

    def let_deadlines_pass(self, place: int) -> None:
        generation = self.generation(place)
        if generation in self.world.live and not self.world.holder(generation):
            self.world.let_deadlines_pass(generation)
            self.sweep_once()

    @invariant()
    def hold_all_promises(self) -> None:
        try:
            self.world.check()
            for generation, cursor, data in self.world.published():
                for follower in self.followers:
                    if follower.generation == generation:
                        follower.hear(cursor, data)
            for follower in self.followers:
                follower.check()
            self.world.save()
        except BaseException:
            self.is_broken = True
            raise

    def teardown(self) -> None:
        try:
            if not self.is_broken:
                self._bring_to_the_end()
        finally:
            self.world.close()

    def _bring_to_the_end(self) -> None:
        for holder in self.holders:
            holder.is_running &= not self.workers_die
            holder.is_paused = False
        for _ in range(LOOKS_UNTIL_THE_END):
            for holder in self.all_awake():
                self._finish(holder)
            if self.workers_die:
                for generation in [each for each in self.world.live if not self.world.holder(each)]:
                    self.world.let_deadlines_pass(generation)
            self.let_all_leases_pass()
            while self.rings:
                self.claim_of(self.rings.pop(), Fate.REQUEST_LOST if self.workers_die else Fate.HEARD)
            self.hold_all_promises()
            if not self.world.live:
                break
        assert not self.world.live, "it goes on for ever"
        for follower in self.followers:
            follower.look()
            follower.check()
            assert follower.is_done or not self.world.exists(follower.generation), "a reader was left hanging"

    def _finish(self, holder: Holder) -> None:
        if holder.must_reclaim:
            holder.reclaim(Fate.HEARD)
        elif holder.outcome is None:
            holder.say()
            holder.end(COMPLETE)
        if holder.is_running and not holder.must_reclaim:
            holder.send(holder.batch(0, len(holder.queue)), Fate.HEARD)
