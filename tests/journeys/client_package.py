"""The package `millrace-client`, the JavaScript client, in the directories of scripts that import it."""

import json
import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "webapp/static"


def listed_files() -> list[Path]:
    """Return the files that the package consists of, as `files` of its package.json lists them."""
    listed = json.loads((SOURCE / "package.json").read_text("utf-8"))["files"]
    found = [SOURCE / name for name in ("package.json", *listed)]
    return sorted(path for each in found for path in (each.rglob("*") if each.is_dir() else [each]))


def add_client(directory: Path) -> None:
    """Put the package where scripts of the directory find it, with no other files of the folder beside it."""
    for path in listed_files():
        target = directory / "node_modules/millrace-client" / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
