"""Plans: each quantity follows from its unit cost, grows with its load, and stays within its bound."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity_plan import (
    CapacityBounds,
    CapacityPlan,
    ExpectedLoad,
    HourlyPrices,
    PlannedTier,
    UsageCosts,
    following_processes,
    plan_for,
)

COSTS, BOUNDS, PRICES = UsageCosts(), CapacityBounds(), HourlyPrices()
LOADS = st.builds(
    ExpectedLoad,
    st.integers(1, 2_000_000),
    st.integers(1, 200_000),
    st.floats(1, 10_000),
    st.floats(0.1, 100),
    st.floats(1, 10),
    st.floats(1, 600),
    st.floats(60, 86_400),
)


def plan(load: ExpectedLoad) -> CapacityPlan:
    return plan_for(load, COSTS, BOUNDS, PRICES)


def tier(load: ExpectedLoad, name: str) -> PlannedTier:
    (found,) = [each for each in plan(load).tiers if each.name == name]
    return found


@given(LOADS)
def test_no_tier_exceeds_its_bound_and_one_process_less_would(load: ExpectedLoad) -> None:
    web, worker, streams = (tier(load, name) for name in ("web", "worker", "Redis, streams"))
    for found, share in ((web, BOUNDS.web_share), (worker, BOUNDS.worker_share), (streams, BOUNDS.redis_share)):
        assert found.busy_cores <= found.processes * share * (1 + 1e-6)
    assert load.open_readers <= web.processes * BOUNDS.readers_per_web * (1 + 1e-6)
    assert load.answers <= worker.processes * BOUNDS.answers_per_worker * (1 + 1e-6)
    assert streams.memory_gb <= streams.processes * BOUNDS.redis_gb * (1 + 1e-6)
    fewer = worker.processes - 1
    assert fewer == 0 or worker.busy_cores > fewer * BOUNDS.worker_share or load.answers > fewer * 500


@given(LOADS, st.sampled_from(["readers", "answers"]))
def test_more_load_needs_no_less(load: ExpectedLoad, what: str) -> None:
    more = replace(load, **{what: getattr(load, what) * 2})
    small, large = plan(load), plan(more)
    assert large.hourly_cost >= small.hourly_cost
    assert large.gbit_out >= small.gbit_out
    for before, after in zip(small.tiers, large.tiers, strict=True):
        assert after.processes >= before.processes
        assert after.memory_gb >= before.memory_gb
    for share in small.bottlenecks:
        (same,) = [each for each in large.bottlenecks if each.name == share.name]
        assert same.share >= share.share


@given(LOADS)
def test_the_fullest_resource_breaks_first(load: ExpectedLoad) -> None:
    found = plan(load)
    assert found.breaks_first.share == max(each.share for each in found.bottlenecks)


def test_each_figure_is_its_units_times_their_cost() -> None:
    load = ExpectedLoad(50_000, 1000, deltas_per_second=10, answer_seconds=10, log_ttl_seconds=990)
    costs = UsageCosts(
        web_us_per_event=10,
        web_us_per_delivery=20,
        web_ms_per_start=1,
        worker_us_per_delta=100,
        worker_ms_per_start=5,
        redis_us_per_append=30,
        redis_ms_per_start=2,
        redis_bytes_per_start=1000,
        redis_bytes_per_append=90,
        redis_traffic_per_append=500,
        bytes_per_delivery=100,
        wire_bytes_per_delivery=25,
    )
    found = plan_for(replace(load, heartbeat_seconds=50), costs, BOUNDS, PRICES)
    web, worker, streams, control = found.tiers
    assert (load.starts, load.events, load.deliveries) == (100, 10_000, 10_000)
    assert web.busy_cores == pytest.approx(10_000 * 30e-6 + 1000 * 20e-6 + 100 * 1e-3)
    assert (web.processes, web.bound) == (5, "readers")
    assert worker.busy_cores == pytest.approx(10_000 * 100e-6 + 100 * 5e-3)
    assert (worker.processes, worker.bound) == (3, "processor")
    assert streams.busy_cores == pytest.approx(0.3)
    assert streams.memory_gb == pytest.approx(100 * 1000 * (1000 + 100 * 90) / 1e9)
    assert control.busy_cores == pytest.approx(0.2)
    assert found.gbit_redis == pytest.approx(10_000 * 500 * 8 / 1e9)
    assert found.gbit_out == pytest.approx(10_000 * 125 * 8 / 1e9)


def test_an_event_reaches_at_most_every_process_and_at_least_one() -> None:
    assert [following_processes(1, 1), following_processes(50, 1)] == pytest.approx([1, 1])
    assert 49.9 < following_processes(50, 1000) <= 50
    assert following_processes(50, 10) < 10
