"""The state machine: workers crash, stall and lose replies, Redis loses data, readers miss messages."""

from itertools import product
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from millrace.worker.contract import sweep
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Chunk, Error
from tests.worker.contract.generations import COMPLETE, SETTINGS
from tests.worker.contract.participants import Participants
from tests.worker.contract.reader_model import ReaderModel
from tests.worker.contract.script_changes import FAST_CLOCK, changed_scripts
from tests.worker.contract.worker_model import Fate, WorkerModel, deliver

FAILED = Error("internal", "Sorry.", retryable=True)
AT_ONCE = 2  # generations

# The same runs each time, with and without a rule: so passing and failing say something of each other.
SAME_RUNS = settings(
    max_examples=200,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

places = st.integers(0, 5)  # taken modulo the number of what is there
fates = st.sampled_from([Fate.DELIVERED, Fate.DELIVERED, Fate.DELIVERED, Fate.REPLY_LOST, Fate.REQUEST_LOST])


# How often what happens; a rule for each would let hypothesis leave the work out of most runs.
OFTEN = ("say", "say", "say", "send", "send", "send", "deliver a message", "end", "restart", "look at the log")
SELDOM = ("make", "ask again", "cancel", "answer twice", "arrive late", "go on", "let leases pass", "lose messages")
STOPS = ("pause", "oversleep", "crash", "die", "hand over")
RARELY = ("join", "let deadlines pass")

BEGINNINGS = ("queued", "cancelled", "running", "claim lost", "text lost", "end lost", "end flagged")
SEQUELS = ("work", "oversleep", "hand over too soon", "answer twice", "sleep")


class LogMachine(Participants):
    """Any step may happen at any time; the invariant of `Participants` must hold after each."""

    @initialize(
        workers_die=st.booleans(),
        # One draw, because hypothesis likes to keep what it has drawn and to vary a little of it.
        start=st.sampled_from(list(product(BEGINNINGS, (None, Fate.REPLY_LOST, Fate.REQUEST_LOST), SEQUELS))),
    )
    def begin(self, workers_die: bool, start: tuple[str, Fate | None, str]) -> None:
        """Begin somewhere in the middle: most runs start where few would come to by chance."""
        begun, fate, then = start
        self.workers_die = workers_die
        generation = self.make_one()
        self.hold_all_promises()
        if begun == "queued":
            self.messages.append(generation)
            return
        if begun == "cancelled":
            self.cancel(0)
            self.hold_all_promises()
            self.redis_model.restart(2)
            if workers_die:
                self.redis_model.let_deadlines_pass(generation)
                self.sweep_once()
            return
        self.claim_of(generation, Fate.DELIVERED)
        holder = self.workers[0]
        self.begin_to_write(holder, begun, is_told=fate is not None or begun != "claim lost")
        if fate is not None:
            self.send(holder, 0, 1, fate)
        self.go_on_from_there(holder, then)

    def begin_to_write(self, holder: WorkerModel, begun: str, *, is_told: bool) -> None:
        """Write a little, lose some of it where that is how it has begun, and be told of it or not yet."""
        holder.send(holder.batch(0, 1), Fate.DELIVERED)
        holder.say()
        if begun.startswith("end"):
            holder.end(COMPLETE, has_title=True)
            holder.send(holder.batch(0, 2 if begun == "end lost" else 1), Fate.DELIVERED)
        if begun == "end flagged":
            self.cancel(0)
        if begun != "claim lost":
            self.hold_all_promises()
        holder.send(holder.batch(0, 1), Fate.DELIVERED)
        self.hold_all_promises()
        if begun.endswith("lost"):
            self.redis_model.restart(2)
            if holder.outcome is None:
                holder.say()
        if begun.endswith("lost") and is_told:
            holder.send(holder.batch(0, 1), Fate.DELIVERED)
            assert holder.must_reclaim

    def go_on_from_there(self, holder: WorkerModel, what: str) -> None:
        match what:
            case "oversleep" if holder.is_awake:
                self.stop(holder, what)
                self.send(holder, 0, 1, Fate.DELIVERED)
            case "sleep":
                self.let_all_leases_pass()
            case "hand over too soon":
                self.send(holder, 0, 1, Fate.REQUEST_LOST)
                self.hand_over(holder)
                self.arrive_late(-1)
            case "answer twice":
                self.claim_of(holder.generation, Fate.DELIVERED)
            case _:
                pass

    @rule(
        what=st.sampled_from(OFTEN * 4 + (SELDOM + STOPS) * 2 + RARELY),
        place=places,
        count=st.integers(1, 4),
        fate=fates,
        coin=st.booleans(),
    )
    def happen(self, what: str, place: int, count: int, fate: Fate, coin: bool) -> None:
        match what:
            case "say" | "send" | "end" | "pause" | "oversleep" | "crash" | "die" | "hand over":
                self.wake_a_worker(place)
                self.work(self.awake(place), what, count, fate, coin)
            case "arrive late":
                self.arrive_late(place)
            case "deliver a message":
                self.deliver_message(place, fate)
            case "answer twice":
                self.claim_of(self.generation(place), Fate.DELIVERED)
            case "go on":
                for holder in self.workers:
                    holder.is_paused = False
            case "restart":
                self.redis_model.restart(None if place == 0 else count + place // 2)
            case _:
                self.use(what, place, count)

    def use(self, what: str, place: int, count: int) -> None:
        """Let time pass, or let those who ask and those who read do something."""
        follower = self.readers[-1 - place % len(self.readers)]
        match what:
            case "make" if len(self.redis_model.live) < AT_ONCE:
                self.claim_of(self.make_one(), Fate.DELIVERED)
            case "ask again":
                self.ask_again(place)
            case "cancel":
                self.cancel(place)
            case "let leases pass":
                self.let_all_leases_pass()
            case "let deadlines pass":
                self.let_deadlines_pass(place)
            case "lose messages":
                follower.missed_messages = count
            case "join" | "make":
                self.readers.append(ReaderModel(self.redis_model, self.generation(place), drops_older=count > 2))
            case _:
                follower.look()

    def wake_a_worker(self, place: int) -> None:
        """See to it that somebody holds something, so that there is always work."""
        if not self.all_awake():
            self.deliver_message(place, Fate.DELIVERED)
        paused = [holder for holder in self.workers if holder.is_running]
        if paused and not self.all_awake():
            paused[0].is_paused = False
        if not self.all_awake():
            self.claim_of(self.make_one(), Fate.DELIVERED)

    def ask_again(self, place: int) -> None:
        draft = self.drafts[place % len(self.drafts)]
        if create(self.redis_model.redis, draft, SETTINGS).status == "queued":
            self.messages.append(draft.ids.generation)

    def cancel(self, place: int) -> None:
        generation = self.generation(place)
        token = self.redis_model.holder(generation)
        reply = cancel(self.redis_model.redis, generation, "user", SETTINGS)
        assert reply is None or reply.had_ended_before or reply.has_ended == (token == ""), "a holder ends it itself"

    def work(self, holder: WorkerModel, what: str, count: int, fate: Fate, coin: bool) -> None:
        match what:
            case "say" if holder.outcome is None:
                for _ in range(count):
                    holder.say()
                self.send(holder, 0, len(holder.queue), fate)
            case "say" | "send":
                self.send(holder, int(coin and count > 2), count, fate)
            case "end":
                self.end(holder, is_late=count == 4, has_title=coin)
            case "hand over":
                self.hand_over(holder)
            case _:
                self.stop(holder, what)

    def hand_over(self, holder: WorkerModel) -> None:
        holder.release()
        self.messages.append(holder.generation)

    def arrive_late(self, place: int) -> None:
        if self.in_flight:
            self.in_flight.pop(place % len(self.in_flight))()

    def send(self, holder: WorkerModel, skipped: int, count: int, fate: Fate) -> None:
        if holder.must_reclaim:
            if fate is Fate.REQUEST_LOST:
                held = holder.claim
                self.in_flight.append(lambda: holder.reclaim_arrives(held))
            holder.reclaim(fate)
            return
        appends = holder.batch(skipped, count)
        if appends and fate is not Fate.DELIVERED:
            self.in_flight.append(lambda: deliver(self.redis_model, appends))
        holder.send(appends, fate)

    def end(self, holder: WorkerModel, *, is_late: bool, has_title: bool) -> None:
        """End; where it is late, a delta that was on its way comes to stand behind the outcome."""
        if holder.outcome is None:
            holder.end(COMPLETE if has_title else FAILED, has_title=has_title)
            if is_late:
                last = holder.queue.pop()
                holder.queue.append((last[0], Chunk("<999:1>")))

    def stop(self, holder: WorkerModel, how: str) -> None:
        """Let a holder be gone for a while, for longer than its lease, or for good, noticed or not yet."""
        holder.is_paused = True
        if how in ("oversleep", "die"):
            self.let_all_leases_pass()
            self.let_all_leases_pass()
        holder.is_paused = how == "pause"
        holder.is_running = how in ("pause", "oversleep")


def run(redis: Redis, *changes: tuple[str, str], runs: settings = SAME_RUNS) -> None:
    """Let the machine run over the scripts as they are, or changed; raises what it finds."""
    with changed_scripts(redis, [FAST_CLOCK, *changes]), patch.object(sweep, "LEASES", sweep.LEASES[:1]):
        run_state_machine_as_test(lambda: LogMachine(redis), settings=runs)  # pyright: ignore[reportArgumentType] - it takes any factory
