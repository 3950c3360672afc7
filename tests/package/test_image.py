"""The image of the Dockerfile: all is where its commands look for it, and nothing of the build."""

from pathlib import Path

import pytest

from tests.package.conftest import CONTAINER
from tests.package.containers import give
from tests.package.dockerfile import Stage, instructions

_LIST = 'ls "$MILLRACE_ASSETS_DIR" && ls /source /tmp/npm; id -u; touch /opt/x "$MILLRACE_ASSETS_DIR/x"'

pytestmark = pytest.mark.timeout(900)  # the first test of all builds the image


def test_instructions_are_read_with_their_continuations_and_without_comments() -> None:
    text = '# a\nFROM base AS first\nRUN one \\\n# between\n && two\nCMD ["x"]\n'
    assert instructions(text) == [("FROM", "base AS first"), ("RUN", "one   && two"), ("CMD", '["x"]')]
    assert [name for name, _ in instructions((CONTAINER / "Dockerfile").read_text())].count("FROM") == 2


def test_image_holds_the_page_s_libraries_and_bundles_and_none_of_the_source(image: Stage, tmp_path: Path) -> None:
    listed = image.container(give(tmp_path / "tmp", image.user)).run(
        ["sh", "-c", _LIST],
        60,
    )
    assert "bundles-" in listed.stdout
    assert listed.stdout.count("No such file") == 2, "the files of the build stay in its stage"
    assert "\n10001\n" in listed.stdout
    assert listed.stdout.count("Read-only file system") == 2
