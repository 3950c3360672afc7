"""The state machine: workers crash, stall and lose replies; Redis loses data; readers miss messages."""

from itertools import product
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from millrace.worker.contract import sweep
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Chunk, Error
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import COMPLETE, SETTINGS
from tests.worker.contract.participants import Participants
from tests.worker.contract.reader_model import ReaderModel
from tests.worker.contract.script_changes import FAST_CLOCK, changed_scripts
from tests.worker.contract.worker_model import Fate, WorkerModel, deliver

FAILED = Error("internal", "Sorry.", retryable=True)
AT_ONCE = 2  # generations

# The same runs each time, with and without a rule, so that a failure is caused by the missing rule.
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

places = st.integers(0, 5)  # taken modulo the number of candidates
fates = st.sampled_from([Fate.DELIVERED, Fate.DELIVERED, Fate.DELIVERED, Fate.REPLY_LOST, Fate.REQUEST_LOST])


# The steps by frequency. With one rule per step, Hypothesis would leave the work out of most runs.
OFTEN = (
    "generate",
    "generate",
    "generate",
    "send",
    "send",
    "send",
    "deliver a message",
    "end",
    "restart",
    "compare with the log",
)
SOMETIMES = (
    "create",
    "create again",
    "cancel",
    "claim twice",
    "arrive late",
    "resume",
    "expire leases",
    "lose messages",
)
STOPS = ("pause", "oversleep", "crash", "die", "hand over")
RARELY = ("join", "expire deadlines")

BEGINNINGS = ("queued", "cancelled", "running", "claim lost", "text lost", "end lost", "end flagged")
SEQUELS = ("work", "oversleep", "hand over too early", "claim twice", "sleep")


class LogMachine(Participants):
    """Any step may happen at any time; the invariant of `Participants` must hold after each."""

    @initialize(
        workers_die=st.booleans(),
        # One draw, because Hypothesis tends to keep earlier draws and to vary a few of them.
        start=st.sampled_from(list(product(BEGINNINGS, (None, Fate.REPLY_LOST, Fate.REQUEST_LOST), SEQUELS))),
    )
    def begin(self, workers_die: bool, start: tuple[str, Fate | None, str]) -> None:
        """Begin in the middle: most runs start in a state that few would reach by chance."""
        beginning, fate, then = start
        self.workers_die = workers_die
        generation = self.create_one()
        self.check_logs_and_readers()
        if beginning == "queued":
            self.messages.append(generation)
            return
        if beginning == "cancelled":
            self.cancel(0)
            self.check_logs_and_readers()
            self.redis_model.restart(2)
            if workers_die:
                self.redis_model.expire_deadlines(generation)
                self.sweep_once()
            return
        self.deliver_claim(generation, Fate.DELIVERED)
        holder = self.workers[0]
        self.write_beginning(holder, beginning, is_noticed=fate is not None or beginning != "claim lost")
        if fate is not None:
            self.send(holder, 0, 1, fate)
        self.continue_run(holder, then)

    def write_beginning(self, holder: WorkerModel, beginning: str, *, is_noticed: bool) -> None:
        """Append a few events and lose some if the beginning says so; the holder notices it if `is_noticed`."""
        holder.send(holder.batch(0, 1), Fate.DELIVERED)
        holder.generate()
        if beginning.startswith("end"):
            holder.end(COMPLETE, has_title=True)
            holder.send(holder.batch(0, 2 if beginning == "end lost" else 1), Fate.DELIVERED)
        if beginning == "end flagged":
            self.cancel(0)
        if beginning != "claim lost":
            self.check_logs_and_readers()
        holder.send(holder.batch(0, 1), Fate.DELIVERED)
        self.check_logs_and_readers()
        if beginning.endswith("lost"):
            self.redis_model.restart(2)
            if holder.outcome is None:
                holder.generate()
        if beginning.endswith("lost") and is_noticed:
            holder.send(holder.batch(0, 1), Fate.DELIVERED)
            assert holder.must_reclaim

    def continue_run(self, holder: WorkerModel, what: str) -> None:
        match what:
            case "oversleep" if holder.is_awake:
                self.stop(holder, what)
                self.send(holder, 0, 1, Fate.DELIVERED)
            case "sleep":
                self.expire_all_leases()
            case "hand over too early":
                self.send(holder, 0, 1, Fate.REQUEST_LOST)
                self.hand_over(holder)
                self.arrive_late(-1)
            case "claim twice":
                self.deliver_claim(holder.generation, Fate.DELIVERED)
            case _:
                pass

    @rule(
        what=st.sampled_from(OFTEN * 4 + (SOMETIMES + STOPS) * 2 + RARELY),
        place=places,
        count=st.integers(1, 4),
        fate=fates,
        coin=st.booleans(),
    )
    def take_step(self, what: str, place: int, count: int, fate: Fate, coin: bool) -> None:
        match what:
            case "generate" | "send" | "end" | "pause" | "oversleep" | "crash" | "die" | "hand over":
                self.ensure_awake_worker(place)
                self.work(self.awake(place), what, count, fate, coin)
            case "arrive late":
                self.arrive_late(place)
            case "deliver a message":
                self.deliver_message(place, fate)
            case "claim twice":
                self.deliver_claim(self.generation(place), Fate.DELIVERED)
            case "resume":
                for holder in self.workers:
                    holder.is_paused = False
            case "restart":
                self.redis_model.restart(None if place == 0 else count + place // 2)
            case _:
                self.act_outside(what, place, count)

    def act_outside(self, what: str, place: int, count: int) -> None:
        """Expire leases or deadlines, or take a step of a client or a reader."""
        follower = self.readers[-1 - place % len(self.readers)]
        match what:
            case "create" if len(self.redis_model.live) < AT_ONCE:
                self.deliver_claim(self.create_one(), Fate.DELIVERED)
            case "create again":
                self.create_again(place)
            case "cancel":
                self.cancel(place)
            case "expire leases":
                self.expire_all_leases()
            case "expire deadlines":
                self.expire_deadlines(place)
            case "lose messages":
                follower.missed_messages = count
            case "join" | "create":
                self.readers.append(ReaderModel(self.redis_model, self.generation(place), drops_older=count > 2))
            case _:
                follower.compare_with_log()

    def ensure_awake_worker(self, place: int) -> None:
        """Make sure that a worker holds a generation, so that there is always work."""
        if not self.all_awake():
            self.deliver_message(place, Fate.DELIVERED)
        paused = [holder for holder in self.workers if holder.is_running]
        if paused and not self.all_awake():
            paused[0].is_paused = False
        if not self.all_awake():
            self.deliver_claim(self.create_one(), Fate.DELIVERED)

    def create_again(self, place: int) -> None:
        draft = self.drafts[place % len(self.drafts)]
        if create(Streams(self.redis_model.redis), draft, SETTINGS).status == "queued":
            self.messages.append(draft.ids.generation)

    def cancel(self, place: int) -> None:
        generation = self.generation(place)
        token = self.redis_model.holder(generation)
        reply = cancel(Streams(self.redis_model.redis), generation, "user", SETTINGS)
        assert reply is None or reply.had_ended_before or reply.has_ended == (token == ""), (
            "a held generation is ended by its holder"
        )

    def work(self, holder: WorkerModel, what: str, count: int, fate: Fate, coin: bool) -> None:
        match what:
            case "generate" if holder.outcome is None:
                for _ in range(count):
                    holder.generate()
                self.send(holder, 0, len(holder.queue), fate)
            case "generate" | "send":
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
        """End the generation; if `is_late`, a delta in flight is queued after the outcome."""
        if holder.outcome is None:
            holder.end(COMPLETE if has_title else FAILED, has_title=has_title)
            if is_late:
                last = holder.queue.pop()
                holder.queue.append((last[0], Chunk("<999:1>")))

    def stop(self, holder: WorkerModel, how: str) -> None:
        """Stop a holder for a while, for longer than its lease, or permanently, before or after its lease expires."""
        holder.is_paused = True
        if how in ("oversleep", "die"):
            self.expire_all_leases()
            self.expire_all_leases()
        holder.is_paused = how == "pause"
        holder.is_running = how in ("pause", "oversleep")


def run(redis: Redis, *changes: tuple[str, str], runs: settings = SAME_RUNS) -> None:
    """Run the machine with the scripts as they are, or changed; raises the first failure."""
    with changed_scripts(redis, [FAST_CLOCK, *changes]), patch.object(sweep, "LEASES", sweep.LEASES[:1]):
        run_state_machine_as_test(lambda: LogMachine(redis), settings=runs)  # pyright: ignore[reportArgumentType] - it takes any factory
