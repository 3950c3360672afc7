"""The image of the Dockerfile, built once, and the services that its containers need."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulator_process import EmulatorProcess
from tests.package.containers import Container, obstacle
from tests.package.dockerfile import Stage, build, make_context
from tests.postgres import PostgresProcess, absent

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy/container"
# All that the processes of both tiers import at their start: compiled once, as pip would have done for every module.
_WARM_UP = """
from gevent import monkey
monkey.patch_all()
import celery.bin.celery, celery.concurrency.gevent, gunicorn.app.wsgiapp, gunicorn.workers.ggevent
import millrace.webapp.extension, millrace.worker.generation, millrace.worker.process, millrace.worker.store.migration
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The image, built by the instructions of the Dockerfile from what its ignore file lets through."""
    if reason := obstacle():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("image")
    context = directory / "context"
    make_context(ROOT, CONTAINER / "Dockerfile.dockerignore", context)
    made = build((CONTAINER / "Dockerfile").read_text(), context, directory)
    compiling = Container(made.root, "0:0", "/", None, {"PATH": made.environment["PATH"]})
    done = compiling.run(["python", "-c", _WARM_UP], 120)
    assert done.returncode == 0, done.stdout
    return made


@dataclass(frozen=True)
class Backing:
    """The services beside the containers of a deployment: a database server and a provider of models."""

    postgres: PostgresProcess
    emulator: EmulatorProcess

    def database(self, name: str) -> str:
        """Make an empty database and return its address."""
        self.postgres.query(f"CREATE DATABASE {name}")
        return self.postgres.url(name)


@pytest.fixture(scope="session")
def backing() -> Iterator[Backing]:
    if reason := absent():
        pytest.skip(reason)
    with PostgresProcess() as postgres, EmulatorProcess() as emulator:
        yield Backing(postgres, emulator)
