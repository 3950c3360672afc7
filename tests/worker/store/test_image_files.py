"""Images as files: saved whole, under a hash of their bytes, one folder for each generation."""

import os
import time
from pathlib import Path

import pytest

from deploy.emulator.picture import make_png
from millrace.worker.contract.events import ImageFormat, ImageReference
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.store.image_files import ImageFiles, format_of

PNG = make_png("a")


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (PNG, "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"RIFF1234WEBPVP8 ", "webp"),
        (b"RIFF1234WAVE", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", None),
        (b"<!doctype html>", None),
        (b" " + PNG, None),
        (b"", None),
    ],
)
def test_format_is_told_by_the_first_bytes(data: bytes, known: ImageFormat | None) -> None:
    assert format_of(data) == known


def test_saved_image_is_read_back_and_the_same_bytes_have_the_same_id(tmp_path: Path) -> None:
    files, generation = ImageFiles(str(tmp_path)), new_id()
    image = files.save(generation, PNG, "png")
    assert is_id(image.id)
    assert image == ImageReference(image.id, "png", len(PNG)) == files.save(generation, PNG, "png")
    assert files.read(generation, image.id) == ("png", PNG)
    assert files.save(generation, make_png("b"), "png").id != image.id
    assert files.read(new_id(), image.id) is None
    assert len(list((tmp_path / generation).iterdir())) == 2, "an unfinished file is left"


@pytest.mark.parametrize("name", ["", "..", "../x", "x" * 32, "0" * 5000, "\x00"])
def test_name_that_is_no_id_is_no_path(tmp_path: Path, name: str) -> None:
    files, generation = ImageFiles(str(tmp_path / "in")), new_id()
    (tmp_path / "in").mkdir()
    (tmp_path / "x").write_bytes(PNG)
    image = files.save(generation, PNG, "png")
    assert files.read(name, image.id) is None
    assert files.read(generation, name) is None
    files.delete([name])
    assert (tmp_path / "x").exists()
    assert files.read(generation, image.id)


def test_failed_save_leaves_no_file_and_raises(tmp_path: Path) -> None:
    files, generation = ImageFiles(str(tmp_path)), new_id()
    image = files.save(generation, PNG, "png")
    path = tmp_path / generation / f"{image.id}.png"
    path.unlink()
    path.mkdir()  # a name that cannot be replaced
    with pytest.raises(IsADirectoryError):
        files.save(generation, PNG, "png")
    assert [each.name for each in (tmp_path / generation).iterdir()] == [path.name]


def test_images_of_a_generation_are_deleted_together_and_absent_ones_are_no_error(tmp_path: Path) -> None:
    files, (one, other) = ImageFiles(str(tmp_path)), (new_id(), new_id())
    image = files.save(one, PNG, "png")
    files.save(other, PNG, "png")
    files.delete([one, new_id()])
    assert files.read(one, image.id) is None
    assert files.read(other, image.id)


def test_old_generations_are_found_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    files, (old, new) = ImageFiles(str(tmp_path)), (new_id(), new_id())
    for generation in (old, new):
        files.save(generation, PNG, "png")
    (tmp_path / "theirs").mkdir()
    for name in (old, "theirs"):
        os.utime(tmp_path / name, (0, time.time() - 100))
    assert files.find_old(50) == [old]


def test_without_a_directory_there_are_no_images() -> None:
    files = ImageFiles("")
    assert not files.is_on
    assert files.read(new_id(), new_id()) is None
    assert files.find_old(0) == []
    files.delete([new_id()])
