"""`python -m tests.soak --minutes 20 --seed 1`: prints the faults and the findings; exits with 1 after a violation."""

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.client import wait_for
from tests.faults.rig import ROOT, Rig
from tests.faults.tcp_proxy import TcpProxy
from tests.soak.fault_injector import LOOK_SECONDS, FaultInjector
from tests.soak.mutations import MUTATIONS, apply_mutation
from tests.soak.population import END_SECONDS, Population

MINIMUM_EACH = 20
LONG_MINUTES = 15.0


def main() -> int:
    """Run one soak."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    directory = Path(tempfile.mkdtemp(prefix="millrace-soak-"))
    root = apply_mutation(options.mutation, directory) if options.mutation else ROOT
    print(f"soak: {options.minutes:g} min, seed {seed}, {options.size} in flight, logs in {directory}", flush=True)
    rig = Rig(directory, workers=2, webs=2, root=root, **_settings())
    rig.valkey.start()
    with TcpProxy(rig.valkey.port) as proxy:
        rig.redis_ports.update(worker=proxy.port, web=proxy.port)
        with rig:
            population = Population(rig, random.Random(seed), options.size)
            injector = FaultInjector(rig, proxy, population, random.Random(seed + 1))
            soak(
                population,
                injector,
                options.minutes * 60,
                options.faults_a_second,
                stop_at_first=bool(options.mutation),
            )
    failed = report(population, injector, seed, options.minutes)
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size", type=int, default=50)
    parser.add_argument("--faults-a-second", type=float, default=3.0)
    parser.add_argument("--mutation", choices=sorted(MUTATIONS))
    return parser.parse_args()


def _settings() -> dict[str, Any]:
    return {
        "lease_seconds": 2,
        "max_attempts": 20,
        "queue_seconds": 50,  # longer than a half-open connection, and a worker that starts meanwhile, take
        "shutdown_grace_seconds": 1,
        "read_seconds": 20,  # longer than any process stands still: no model's fault
        "heartbeat_seconds": 2,
    }


def soak(population: Population, injector: FaultInjector, seconds: float, rate: float, *, stop_at_first: bool) -> None:
    """Keep the population full under faults for so long, then let everything finish."""
    begun = said = time.monotonic()
    told = 0
    with injector.at_work(rate):
        while time.monotonic() - begun < seconds and not (stop_at_first and population.violations):
            population.reap()
            population.fill()
            injector.check()
            for each in population.violations[told:]:
                print(f"  {time.monotonic() - begun:.0f} s: VIOLATION {each}", flush=True)
            told = len(population.violations)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(
                    f"  {said - begun:.0f} s: {sum(injector.done.values())} faults, {population.checked} checked, "
                    f"{len(population.violations)} violations",
                    flush=True,
                )
            time.sleep(LOOK_SECONDS)
        injector.rest()

        def is_over() -> bool:
            population.reap()
            return not population.flights

        if not (stop_at_first and population.violations):
            wait_for(is_over, END_SECONDS + 30, "the end of everything in flight")


def report(population: Population, injector: FaultInjector, seed: int, minutes: float) -> bool:
    """Print the figures; True where something is wrong."""
    print(f"faults done: {sum(injector.done.values())} of {injector.tried} tried")
    for name, count in sorted(injector.done.items(), key=lambda each: -each[1]):
        print(f"  {count:5} {name}")
    print(
        f"generations: {population.asked} asked, {population.refused} refused, {population.checked} checked, "
        f"{population.gone} gone with Redis's data, {population.otherwise} told another end after it"
    )
    for name, count in sorted(population.outcomes.items(), key=lambda each: -each[1]):
        print(f"  {count:5} {name}")
    for name, values in (
        ("takeover", population.takeovers),
        ("recovery after Redis's return", population.recoveries),
        ("longest wait of a reader", population.gaps),
    ):
        if values:
            print(f"{name}: p50 {statistics.median(values):.2f} s, max {max(values):.2f} s, of {len(values)}")
    rare = [name for name in injector.kinds() if injector.done.get(name, 0) < MINIMUM_EACH]
    if minutes >= LONG_MINUTES and rare:
        print(f"too few to count: {', '.join(rare)}")
    print(f"violations: {len(population.violations)} (seed {seed})")
    for each in population.violations[:20]:
        print(f"  {each}")
    return bool(population.violations) or (minutes >= LONG_MINUTES and bool(rare))


if __name__ == "__main__":
    sys.exit(main())
