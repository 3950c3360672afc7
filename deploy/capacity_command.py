"""The command that calculates what a load needs, or, without a load, what four typical ones need."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from deploy.capacity_plan import CapacityBounds, CapacityPlan, ExpectedLoad, HourlyPrices, UsageCosts, plan_for

TYPICAL = (
    ExpectedLoad(10_000, 1_000),
    ExpectedLoad(100_000, 10_000),
    ExpectedLoad(1_000_000, 100_000),
    ExpectedLoad(1_000_000, 100, watchers=10_000),
)
_COMPRESSED_BYTES = 39.0
_COMPRESSED_US = 1.35  # times as much processor time for each delivery


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags; exits with 2 and a message where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/capacity.py", description="What a load of readers and answers needs.", allow_abbrev=False
    )
    parser.add_argument("--readers", type=_positive, metavar="N", help="open streams, idle ones included")
    parser.add_argument("--answers", type=_positive, metavar="N", help="answers that run at once")
    parser.add_argument("--watchers", type=_positive, default=1.0, metavar="N", help="readers of each answer (1)")
    parser.add_argument("--rate", type=_positive, default=20.0, metavar="N", help="deltas/s of an answer (20)")
    parser.add_argument("--seconds", type=_positive, default=20.0, metavar="S", help="duration of an answer (20)")
    parser.add_argument("--ttl", type=_positive, default=3600.0, metavar="S", help="MILLRACE_LOG_TTL_SECONDS (3600)")
    parser.add_argument("--compression", action="store_true", help="with MILLRACE_COMPRESSION=gzip")
    parser.add_argument("--set", type=Path, metavar="FILE", help="JSON with costs, bounds and prices of your own")
    parser.add_argument("--json", action="store_true", help="print the plans for a program")
    flags = parser.parse_args(arguments)
    if (flags.readers is None) != (flags.answers is None):
        parser.error("--readers and --answers belong together")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plans; returns the exit code."""
    flags = parse(arguments)
    try:
        costs, bounds, prices = assumptions(flags.set.read_text("utf-8") if flags.set else "{}")
    except (OSError, ValueError) as error:
        print(f"{flags.set}: {error}", file=sys.stderr)
        return 1
    if flags.compression:
        each = costs.web_us_per_delivery * _COMPRESSED_US
        costs = replace(costs, bytes_per_delivery=_COMPRESSED_BYTES, web_us_per_delivery=each)
    loads = (
        TYPICAL if flags.readers is None else (ExpectedLoad(int(flags.readers), int(flags.answers), flags.watchers),)
    )
    changed = {
        "deltas_per_second": flags.rate,
        "answer_seconds": flags.seconds,
        "log_ttl_seconds": flags.ttl,
    }
    plans = [plan_for(replace(load, **changed), costs, bounds, prices) for load in loads]
    print(json.dumps([asdict(each) for each in plans], indent=1) if flags.json else "\n\n".join(map(render, plans)))
    return 0


def assumptions(text: str) -> tuple[UsageCosts, CapacityBounds, HourlyPrices]:
    """Return the defaults with the values of a JSON object; raises ValueError that names an unknown or bad one."""
    given: Any = json.loads(text)
    if not isinstance(given, dict):
        raise ValueError('takes a JSON object, such as {"core_hour": 0.05}')
    values: dict[str, Any] = given  # pyright: ignore[reportUnknownVariableType]
    costs, bounds, prices = UsageCosts(), CapacityBounds(), HourlyPrices()
    names = [{field.name for field in fields(group)} for group in (costs, bounds, prices)]
    known = set[str]().union(*names)
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no {name}; there are: {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{name} takes a number that is not negative")
    of_costs, of_bounds, of_prices = ({name: values[name] for name in group & values.keys()} for group in names)
    costs, bounds, prices = replace(costs, **of_costs), replace(bounds, **of_bounds), replace(prices, **of_prices)
    if any(not bound for bound in asdict(bounds).values()):
        raise ValueError("a bound takes a number above 0")
    return costs, bounds, prices


def render(plan: CapacityPlan) -> str:
    """Return a plan as text."""
    load, first = plan.load, plan.breaks_first
    per_second = f"{load.starts:,.0f} starts, {load.events:,.0f} events, {load.deliveries:,.0f} deliveries a second"
    lines = [
        f"{load.open_readers:,.0f} readers, {load.answers:,} answers with {load.watchers:,.0f} each: {per_second}",
        f"  {'':<15}{'processes':>10}{'busy cores':>12}{'memory GB':>11}  decided by",
    ]
    lines += [
        f"  {tier.name:<15}{tier.processes:>10,}{tier.busy_cores:>12,.1f}{tier.memory_gb:>11,.1f}  {tier.bound}"
        for tier in plan.tiers
    ]
    network = f"{plan.gbit_out:,.2f} Gbit/s to clients, {plan.gbit_redis:,.2f} Gbit/s at the stream nodes"
    lines.append(f"  {network}; {plan.hourly_cost:,.2f} an hour without the model")
    for each in plan.bottlenecks:
        lines.append(f"  {each.name}: {each.share:.0%} of its bound")
    grows = f"at {1 / first.share:,.1f} times this load" if first.share < 1 else "already at this load"
    lines.append(f"  breaks first: {first.name}, {grows}: {first.remedy}")
    return "\n".join(lines)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e12:
        raise ValueError
    return value


if __name__ == "__main__":
    sys.exit(main())
