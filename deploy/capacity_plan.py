"""A plan of processes, servers, network and cost for a load, from the measured cost of each unit of work.

Pure functions of four structs: the load, the costs, the bounds and the prices. It is a model: it adds up processor time
and memory, and knows neither queues nor the network between machines.
"""

import math
from dataclasses import dataclass

GIGABYTE = 1e9
_HOURS = 3600
_MAX_ROUNDS = 100


@dataclass(frozen=True)
class UsageCosts:
    """The cost of each unit of work, as `--bench capacity` measures it; µs and ms are of a processor."""

    web_us_per_event: float = 6.0  # received from Redis and encoded, in each web process that follows its log
    web_us_per_delivery: float = 9.0  # written to a reader
    web_ms_per_start: float = 7.0
    worker_us_per_delta: float = 75.0
    worker_ms_per_start: float = 10.0
    redis_us_per_append: float = 24.0
    redis_us_per_subscriber: float = 1.5  # each web process after the first that follows the log
    redis_ms_per_start: float = 1.5
    web_kb_per_reader: float = 2.5
    worker_kb_per_answer: float = 50.0
    web_base_mb: float = 110.0  # of a process
    worker_base_mb: float = 140.0
    redis_bytes_per_start: float = 6800.0
    redis_bytes_per_append: float = 55.0
    redis_traffic_per_append: float = 640.0  # bytes to and from Redis: commands, replies, the published event
    redis_traffic_per_subscriber: float = 150.0
    bytes_per_delivery: float = 98.0  # in HTTP
    wire_bytes_per_delivery: float = 90.0  # of TCP, IP and TLS around it
    connections_per_web: float = 130.0  # to each Redis, at most
    connections_per_worker: float = 20.0


@dataclass(frozen=True)
class ExpectedLoad:
    """The expected load. Readers that follow no running answer are idle, as those of an owner's feed."""

    readers: int
    answers: int  # running at once
    watchers: float = 1.0  # readers of each running answer
    deltas_per_second: float = 20.0  # of each answer
    deltas_per_event: float = 1.0  # more than one where deltas follow each other within MILLRACE_FLUSH_MS
    answer_seconds: float = 20.0
    log_ttl_seconds: float = 3600.0  # MILLRACE_LOG_TTL_SECONDS
    heartbeat_seconds: float = 15.0

    @property
    def starts(self) -> float:
        """Answers that begin, per second."""
        return self.answers / self.answer_seconds

    @property
    def events(self) -> float:
        """Events that are appended, per second."""
        return self.answers * self.deltas_per_second / self.deltas_per_event

    @property
    def deliveries(self) -> float:
        """Events that are written to readers, per second."""
        return self.events * self.watchers

    @property
    def open_readers(self) -> float:
        """All open readers: at least those that watch."""
        return max(self.readers, self.answers * self.watchers)


@dataclass(frozen=True)
class CapacityBounds:
    """The load that one process or server takes; shares are of one core."""

    web_share: float = 0.6
    worker_share: float = 0.6
    redis_share: float = 0.5
    readers_per_web: float = 10_000.0  # MILLRACE_MAX_READERS
    answers_per_worker: float = 500.0  # Celery's --concurrency
    redis_gb: float = 16.0  # of one server
    redis_connections: float = 10_000.0  # Redis's maxclients
    database_answers: float = 1000.0  # per second; assumed, not measured
    network_gbit: float = 10.0  # of the way out


@dataclass(frozen=True)
class HourlyPrices:
    """Prices in one currency: of a core and of a gigabyte of memory for an hour, and of a gigabyte sent."""

    core_hour: float = 0.04
    gb_hour: float = 0.005
    gb_out: float = 0.05


@dataclass(frozen=True)
class PlannedTier:
    """The processes of a tier: how many, the cores they keep busy, their memory, and the bound that decides."""

    name: str
    processes: int
    busy_cores: float
    memory_gb: float
    bound: str


@dataclass(frozen=True)
class Bottleneck:
    """A resource that more processes do not widen: the share of it that the load uses, and the remedy."""

    name: str
    share: float
    remedy: str


@dataclass(frozen=True)
class CapacityPlan:
    """The plan for a load."""

    load: ExpectedLoad
    tiers: tuple[PlannedTier, ...]
    gbit_out: float
    gbit_redis: float  # to and from the stream nodes together
    hourly_cost: float
    bottlenecks: tuple[Bottleneck, ...]  # the fullest first

    @property
    def breaks_first(self) -> Bottleneck:
        """The resource that is full first as the load grows."""
        return self.bottlenecks[0]


def plan_for(load: ExpectedLoad, costs: UsageCosts, bounds: CapacityBounds, prices: HourlyPrices) -> CapacityPlan:
    """Return the smallest plan that stays within the bounds."""
    worker = _worker(load, costs, bounds)
    web, followers = _web(load, costs, bounds)
    streams = _streams(load, costs, bounds, followers)
    control_cores = load.starts * costs.redis_ms_per_start / 1e3
    control = PlannedTier("Redis, control", 1, control_cores, 1.0, "one server")
    tiers = (web, worker, streams, control)
    bytes_out = load.deliveries * (costs.bytes_per_delivery + costs.wire_bytes_per_delivery)
    gbit_out = bytes_out * 8 / 1e9
    traffic = costs.redis_traffic_per_append + max(0.0, followers - 1) * costs.redis_traffic_per_subscriber
    gbit_redis = load.events * traffic * 8 / 1e9
    cores = web.processes + worker.processes + streams.processes + control.processes
    memory = sum(tier.memory_gb for tier in tiers)
    hourly = cores * prices.core_hour + memory * prices.gb_hour + bytes_out * _HOURS / GIGABYTE * prices.gb_out
    connections = web.processes * costs.connections_per_web + worker.processes * costs.connections_per_worker
    bottlenecks = (
        Bottleneck(
            "processor of the control Redis",
            control_cores / bounds.redis_share,
            "a Redis of its own for the queue, or several installations",
        ),
        Bottleneck("connections to each Redis", connections / bounds.redis_connections, "raise Redis's maxclients"),
        Bottleneck(
            "database, answers stored per second",
            load.starts / bounds.database_answers,
            "a larger PostgreSQL, with PgBouncer; measure it: this bound is assumed",
        ),
        Bottleneck("network out", gbit_out / bounds.network_gbit, "several load balancers, MILLRACE_COMPRESSION=gzip"),
    )
    ordered = tuple(sorted(bottlenecks, key=lambda each: each.share, reverse=True))
    return CapacityPlan(load, tiers, gbit_out, gbit_redis, hourly, ordered)


def following_processes(processes: int, watchers: float) -> float:
    """Return how many of the processes have a reader of a log, where each watcher is at a random one."""
    return processes * (1.0 - (1.0 - 1.0 / processes) ** watchers)


def _web(load: ExpectedLoad, costs: UsageCosts, bounds: CapacityBounds) -> tuple[PlannedTier, float]:
    """Return the web tier, and the number of its processes that receive each event.

    The more processes there are, the more of them receive each event, so that the number is sought step by step.
    """
    heartbeats = load.open_readers / load.heartbeat_seconds
    written = (load.deliveries + heartbeats) * costs.web_us_per_delivery / 1e6
    started = load.starts * costs.web_ms_per_start / 1e3
    by_readers = load.open_readers / bounds.readers_per_web
    processes, cores, followers = 1, 0.0, 1.0
    for _ in range(_MAX_ROUNDS):
        followers = following_processes(processes, load.watchers)
        cores = written + started + load.events * followers * costs.web_us_per_event / 1e6
        needed = _whole(max(cores / bounds.web_share, by_readers))
        if needed <= processes:
            break
        processes = needed
    memory = processes * costs.web_base_mb / 1e3 + load.open_readers * costs.web_kb_per_reader / 1e6
    bound = "processor" if cores / bounds.web_share > by_readers else "readers"
    return PlannedTier("web", processes, cores, memory, bound), followers


def _worker(load: ExpectedLoad, costs: UsageCosts, bounds: CapacityBounds) -> PlannedTier:
    deltas = load.answers * load.deltas_per_second
    cores = deltas * costs.worker_us_per_delta / 1e6 + load.starts * costs.worker_ms_per_start / 1e3
    by_answers = load.answers / bounds.answers_per_worker
    processes = _whole(max(cores / bounds.worker_share, by_answers))
    memory = processes * costs.worker_base_mb / 1e3 + load.answers * costs.worker_kb_per_answer / 1e6
    bound = "processor" if cores / bounds.worker_share > by_answers else "concurrency"
    return PlannedTier("worker", processes, cores, memory, bound)


def _streams(load: ExpectedLoad, costs: UsageCosts, bounds: CapacityBounds, followers: float) -> PlannedTier:
    each = costs.redis_us_per_append + max(0.0, followers - 1) * costs.redis_us_per_subscriber
    cores = load.events * each / 1e6
    kept = load.starts * (load.answer_seconds + load.log_ttl_seconds)  # logs that have not expired
    events = load.deltas_per_second * load.answer_seconds / load.deltas_per_event
    memory = kept * (costs.redis_bytes_per_start + events * costs.redis_bytes_per_append) / GIGABYTE
    by_cores, by_memory = cores / bounds.redis_share, memory / bounds.redis_gb
    bound = "processor" if by_cores > by_memory else "memory"
    return PlannedTier("Redis, streams", _whole(max(by_cores, by_memory)), cores, memory, bound)


def _whole(number: float) -> int:
    return max(1, math.ceil(number - 1e-9))
