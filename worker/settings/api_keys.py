"""API keys as `MILLRACE_API_KEYS` holds them: a list in JSON, or a file with one, of the hashes of keys.

A key begins with `mr-` and holds 256 random bits, so that a plain SHA-256 of it cannot be reversed.
"""

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from millrace.worker.settings.parsers import MAX_OWNER_CHARACTERS, is_owner

PREFIX = "mr-"

_ACCEPTED = (
    'takes the path of a file, which begins with / or ./ or ../, or a list of keys in JSON such as [{"sha256": "…", '
    '"owner": "ada"}]'
)


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key's hash and the owner of what is asked with it; the other fields are for those who list keys."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    owner: str
    id: str = ""
    name: str = ""
    created: str = ""
    last4: str = ""


def hash_of_key(key: str) -> str:
    """Return the hash under which a key is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def api_keys(value: str) -> str:
    """Parse the setting: check the keys, and return the text, because the keys of a file may change."""
    read_keys(value)
    return value.strip()


def path_of(value: str) -> Path | None:
    """Return the path of the file that a setting names, None for keys in JSON."""
    value = value.strip()
    return Path(value) if value.startswith(("/", "./", "../")) else None


def read_keys(value: str) -> tuple[ApiKey, ...]:
    """Return the keys of a setting, in JSON or in a file; raises ValueError that says what is wrong."""
    path = path_of(value)
    if path is not None:
        try:
            return decode_keys(path.read_bytes())
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{path} is not a file of keys: {error}") from error
    if not value.lstrip().startswith("["):
        raise ValueError(_ACCEPTED)
    try:
        return decode_keys(value.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ValueError(f"{_ACCEPTED}: {error}") from error


def decode_keys(content: bytes) -> tuple[ApiKey, ...]:
    """Return the keys of a list in JSON; raises ValueError, which shows none of them."""
    try:
        keys = msgspec.json.decode(content, type=tuple[ApiKey, ...])
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    for number, key in enumerate(keys):
        if not is_owner(key.owner):
            raise ValueError(
                f"`$[{number}].owner` takes 1 to {MAX_OWNER_CHARACTERS} printable characters without surrounding spaces"
            )
    if len({key.sha256 for key in keys}) < len(keys):
        raise ValueError("two entries have the same sha256")
    return keys
