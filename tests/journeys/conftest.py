"""One running system for all journeys: `deploy/run.py`, as a user starts it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import Client, Json
from tests.journeys.npm_packages import NpmPackages
from tests.system import ExecutedSystem, System


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory: Path = tmp_path_factory.mktemp("system")
    with ExecutedSystem(directory) as running:
        yield running


@pytest.fixture(scope="package")
def free_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with two workers, in which a reader may reconnect and poll as often as it likes.

    A test may kill its processes, which the system starts again.
    """
    limits = {"MILLRACE_FOLLOW_RATE_LIMIT": "off", "MILLRACE_READ_RATE_LIMIT": "off"}
    with System(tmp_path_factory.mktemp("free"), "--worker", "2", **limits) as running:
        yield running


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with Client(system.url) as each:
        yield each


class Calls:
    """The calls that the local endpoint has served."""

    def __init__(self, url: str) -> None:
        self._url = url

    def of(self, message: str) -> list[Json]:
        """Return the calls whose last message is this one, oldest first."""
        listed: list[Json] = httpx.get(f"{self._url}/_calls", timeout=30, trust_env=False, verify=False).json()
        return [call for call in listed if call["messages"][-1]["content"][-1].get("text") == message]


@pytest.fixture
def calls(system: System) -> Calls:
    return Calls(system.emulator_url)


@pytest.fixture
def system_url(system: System) -> str:
    return system.url


@pytest.fixture(scope="session")
def npm_packages(tmp_path_factory: pytest.TempPathFactory) -> NpmPackages:
    """The packages of `npm/package.json`, installed once; other tests run their scripts with them."""
    return NpmPackages(tmp_path_factory.mktemp("npm"))
