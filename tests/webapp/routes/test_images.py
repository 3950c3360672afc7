"""The images of answers: for their owner only, and gone with their conversation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.emulator.picture import make_png
from millrace.worker.contract.events import Image, Snapshot
from millrace.worker.contract.ids import new_id
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
PNG = make_png("a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    return made


@pytest.fixture
def site(build: Build, folder: Path) -> WebHarness:
    return build(image_dir=str(folder))


def answer_with_image(site: WebHarness) -> tuple[str, str]:
    """Return a generation whose answer has an image, and the image's URL."""
    generation = site.ask()
    image = site.services.images.save(generation, PNG, "png")
    site.write(site.hold(generation), Image(image.id, image.format, image.bytes), *WHOLE)
    return generation, f"/api/generations/{generation}/images/{image.id}"


def test_owner_gets_the_image_with_headers_that_make_it_safe_and_cached(site: WebHarness) -> None:
    generation, url = answer_with_image(site)
    found = json_of(site.user.get(f"/api/generations/{generation}"))["images"]
    assert found == [{"id": url.rpartition("/")[2], "format": "png", "bytes": len(PNG)}]
    answer = site.user.get(url)
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", PNG)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Disposition"] == f'inline; filename="{found[0]["id"]}.png"'
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    again = site.user.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = site.user.head(url)
    assert (head.status_code, head.data, head.content_length) == (200, b"", len(PNG))


def test_strangers_image_and_an_absent_one_are_the_same_404(site: WebHarness) -> None:
    _, url = answer_with_image(site)
    stranger = site.stranger()
    site.owner(stranger)
    foreign = check_problem(stranger.get(url), 404, "not_found")
    absent = check_problem(stranger.get(f"/api/generations/{new_id()}/images/{new_id()}"), 404, "not_found")
    assert foreign == absent


@pytest.mark.parametrize("name", ["0" * 32, "x", "..", "%2e%2e%2fx", "0" * 5000, "é"])
def test_name_of_no_image_is_404(site: WebHarness, name: str) -> None:
    generation, url = answer_with_image(site)
    check_problem(site.user.get(f"/api/generations/{generation}/images/{name}"), 404, "not_found")
    assert site.user.get(url).status_code == 200


def test_without_a_directory_there_is_no_image(build: Build) -> None:
    site = build()
    check_problem(site.user.get(f"/api/generations/{site.ask()}/images/{new_id()}"), 404, "not_found")


def test_image_is_deleted_with_its_conversation(site: WebHarness, folder: Path) -> None:
    generation, url = answer_with_image(site)
    other, other_url = answer_with_image(site)
    conversation = json_of(site.user.get(f"/api/generations/{generation}"))["conversation_id"]
    assert site.user.delete(f"/api/conversations/{conversation}").status_code == 204
    check_problem(site.user.get(url), 404, "not_found")
    assert [each.name for each in folder.iterdir()] == [other]
    assert site.user.get(other_url).status_code == 200


def test_conversation_is_deleted_although_its_images_can_not_be(
    site: WebHarness, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generation, _ = answer_with_image(site)
    (folder / generation).rename(folder / "elsewhere")
    (folder / generation).write_bytes(b"not a folder")
    conversation = json_of(site.user.get(f"/api/generations/{generation}"))["conversation_id"]
    assert site.user.delete(f"/api/conversations/{conversation}").status_code == 204
    assert any("images_not_deleted" in record.getMessage() for record in caplog.records)
    check_problem(site.user.get(f"/api/conversations/{conversation}"), 404, "not_found")


def test_snapshot_has_the_images(site: WebHarness) -> None:
    generation, _ = answer_with_image(site)
    assert json_of(site.user.get(f"/api/generations/{generation}"))["images"]
    restarted = site.ask()
    site.write(site.hold(restarted), Image("i", "png", 1), Snapshot("", "", [], [], "takeover"), *WHOLE)
    assert json_of(site.user.get(f"/api/generations/{restarted}"))["images"] == []
