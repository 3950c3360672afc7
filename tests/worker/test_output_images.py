"""Images that a model makes are kept in files, or named in the log and left out."""

from pathlib import Path

import pytest

from deploy.emulator.picture import make_png
from millrace.worker.contract.events import Chunk, Complete, Error, Image, ImageReference
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.lease import claim, release
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.transcript import fold
from millrace.worker.output_images import ImageKeeper
from millrace.worker.providers.protocol import OutputImage, Stopped
from millrace.worker.settings.schema import Settings
from millrace.worker.store.image_files import ImageFiles
from tests.worker.conftest import MakeWorker
from tests.worker.contract.generations import append_event

PNG = make_png("a")


def keeper(directory: Path | str, max_bytes: int = 10_000) -> ImageKeeper:
    return ImageKeeper(Settings.of(image_dir=str(directory), max_image_bytes=max_bytes))


def test_kept_image_is_in_the_directory(tmp_path: Path) -> None:
    generation = new_id()
    image = keeper(tmp_path).keep(generation, OutputImage(PNG), 0)
    assert image
    assert (image.format, image.bytes) == ("png", len(PNG))
    assert ImageFiles(str(tmp_path)).read(generation, image.id) == ("png", PNG)


def test_image_is_left_out_without_a_directory_of_another_format_or_beyond_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generation = new_id()
    assert keeper("").keep(generation, OutputImage(PNG), 0) is None
    assert keeper(tmp_path).keep(generation, OutputImage(b"<svg/>"), 0) is None
    assert keeper(tmp_path, len(PNG)).keep(generation, OutputImage(PNG), 1) is None
    assert keeper(tmp_path / "absent").keep(generation, OutputImage(PNG), 0) is None
    assert list(tmp_path.iterdir()) == []
    logged = [record.getMessage() for record in caplog.records]
    assert [("image_left_out" in each, generation in each) for each in logged] == [(True, True)] * 4
    assert keeper(tmp_path, len(PNG)).keep(generation, OutputImage(PNG), 0)


def test_answer_names_its_image_in_the_log_and_in_the_database(make_worker: MakeWorker, tmp_path: Path) -> None:
    steps = (Chunk("Here:"), OutputImage(PNG), OutputImage(b"<svg/>"), Stopped("end_turn"))
    worker = make_worker(steps, image_dir=tmp_path)
    generation = worker.harness.create_generation("Why?")
    _, _, chunk, image, outcome, _ = worker.answer(generation)
    assert isinstance(image, Image)
    assert isinstance(outcome, Complete)
    assert (chunk, outcome.provider_details) == (Chunk("Here:"), {"images_left_out": 1})
    assert ImageFiles(str(tmp_path)).read(generation, image.id) == ("png", PNG)
    stored = worker.check_stored(generation).answer
    assert stored.images == (ImageReference(image.id, "png", len(PNG)),)
    assert stored.snapshot("expired").images == [*stored.images]


def test_answer_that_is_an_image_only_is_whole_and_without_a_directory_it_is_empty(
    make_worker: MakeWorker, tmp_path: Path
) -> None:
    steps = (OutputImage(PNG), Stopped("end_turn"))
    assert isinstance(make_worker(steps, image_dir=tmp_path).answer()[-2], Complete)
    failed = make_worker(steps).answer()[-2]
    assert isinstance(failed, Error)
    assert failed.code == "empty_answer"


def test_answer_that_begins_again_has_only_its_own_images(make_worker: MakeWorker, tmp_path: Path) -> None:
    """The files of a dropped image stay until the generation's are deleted; nothing refers to them."""
    worker = make_worker((OutputImage(PNG), Chunk("b"), Stopped("end_turn")), image_dir=tmp_path)
    generation = worker.harness.create_generation("Why?")
    first = claim(Streams(worker.harness.redis), generation, worker.harness.settings)
    assert first
    dropped = Image("0" * 32, "png", 9)
    assert append_event(worker.harness.redis, first.claim, first.top.seq + 1, dropped)
    assert release(Streams(worker.harness.redis), first.claim, worker.harness.settings)
    transcript = fold(worker.answer(generation))
    assert [each.bytes for each in transcript.images] == [len(PNG)]
