"""Parsers of setting values: each returns the value of a text, or raises ValueError that says what it takes."""

import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TAKES_OBJECT = "takes a JSON object, or the path of a file that holds one"
_RATE = r" *[1-9][0-9]{0,8} *(/| per ) *([1-9][0-9]{0,3} *)?(second|minute|hour|day)s? *"
_ORIGIN = r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
_DEFAULT_PORT = {"http": 80, "https": 443}
MAX_OWNER_CHARACTERS = 255


def text(value: str) -> str:
    """Parse a text that is not blank."""
    if not value.strip():
        raise ValueError("takes a text that is not empty")
    return value


def directory(value: str) -> str:
    """Parse the path of a directory that exists."""
    if not Path(value).is_dir():
        raise ValueError("takes the path of a directory that exists")
    return value


def words(value: str) -> tuple[str, ...]:
    """Parse names separated by commas; spaces around them are removed."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def secret_keys(value: str, least: int) -> tuple[str, ...]:
    """Split keys at commas, the one that signs first; raises ValueError where one is shorter than `least` bytes.

    A value of which no part is that long cannot be several keys: it is one, commas included.
    """
    parts = tuple(part.strip() for part in value.split(","))
    are_long = [_bytes_of(part) >= least for part in parts]
    if len(parts) > 1 and all(are_long):
        return parts
    if (len(parts) > 1 and any(are_long)) or _bytes_of(value) < least:
        raise ValueError(f"takes at least {least} bytes in each key; a comma separates keys and cannot be part of one")
    return (value,)


def _bytes_of(value: str) -> int:
    return len(value.encode("utf-8", "surrogateescape"))


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", value.strip(), re.ASCII) or not low <= int(value) <= high:
            raise ValueError(f"takes a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of seconds from `low` to `high`, with at most six decimals."""

    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value.strip(), re.ASCII) or not low <= float(value) <= high:
            raise ValueError(f"takes seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser of one of these words."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"takes one of: {', '.join(allowed)}")
        return value

    return parse


def flag(value: str) -> bool:
    """Parse a boolean."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in known:
        raise ValueError("takes 1, true, yes or on; or 0, false, no or off")
    return known[value.lower()]


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs with one of the schemes."""

    def parse(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.netloc or parts.path) or parts.port == 0:  # raises for a bad port
            raise ValueError(f"takes a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return parse


def matching(pattern: str, description: str) -> Callable[[str], str]:
    """Return a parser of texts that match the whole pattern; the error describes them."""

    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value.strip(), re.ASCII):
            raise ValueError(f"takes {description}")
        return value.strip()

    return parse


def key(value: str) -> str:
    """Parse a key that is sent in a header: ASCII letters, digits and signs."""
    if not re.fullmatch(r"[!-~]+", value.strip(), re.ASCII):
        raise ValueError("takes a key of ASCII letters, digits and signs, without spaces")
    return value.strip()


field_path = matching(r"[\w$-]+(\.[\w$-]+)*", "the name of a field, or names joined by dots")


def optional_field_path(value: str) -> str:
    """Parse the name of a field, or names joined by dots; `off` means no field."""
    return "" if value.strip().lower() == "off" else field_path(value)


def field_paths(value: str) -> tuple[str, ...]:
    """Parse one or more names of fields, separated by commas."""
    found = tuple(field_path(each) for each in words(value))
    if not found:
        raise ValueError("takes names of fields, separated by commas")
    return found


def rates(value: str) -> str:
    """Parse rates in flask-limiter's notation, such as `60/minute;1000 per 2 hours`; `off` means no limit."""
    if value.strip().lower() == "off":
        return ""
    if not re.fullmatch(f"{_RATE}([,;|]{_RATE})*", value.lower(), re.ASCII):
        raise ValueError("takes rates such as 60/minute or 10/second;1000/hour, or off")
    return value.strip()


def origins(value: str) -> tuple[str, ...]:
    """Parse origins as browsers send them, separated by commas: scheme, host and, unless it is the default, port."""
    found = words(value)
    for each in found:
        parts = urlsplit(each)
        if each != f"{parts.scheme}://{parts.netloc}" or not re.fullmatch(_ORIGIN, each, re.ASCII):
            raise ValueError(
                f"takes origins such as https://app.example.com, separated by commas; {each[:100]} is not one"
            )
        if parts.port == _DEFAULT_PORT[parts.scheme]:
            raise ValueError(f"takes origins as browsers send them: remove the default port from {each}")
    return found


def hosts(value: str) -> tuple[str, ...]:
    """Parse host names and IP addresses without ports, separated by commas; an IPv6 address is in brackets."""
    found = tuple(each.lower() for each in words(value))
    for each in found:
        if not re.fullmatch(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", each, re.ASCII):
            raise ValueError(
                f"takes host names such as chat.example.com without ports, separated by commas; {each[:100]} is not one"
            )
    return found


def address(value: str) -> str:
    """Parse an IP address."""
    try:
        return str(ip_address(value.strip()))
    except ValueError:
        raise ValueError("takes an IP address") from None


def is_direct(url: str) -> bool:
    """Return whether a server is always reached directly, never through the environment's proxy.

    These are the servers of this machine, and those without TLS: a local endpoint is one, AWS has none.
    """
    parts = urlsplit(url)
    return parts.scheme == "http" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address, an IPv6 one also in brackets, is this machine's own."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def is_owner(name: object) -> bool:
    """Return whether this is a valid owner: a string of 1 to 255 printable characters without surrounding spaces."""
    return (
        isinstance(name, str) and 1 <= len(name) <= MAX_OWNER_CHARACTERS and name.isprintable() and name == name.strip()
    )


def json_object(value: str) -> str:
    """Parse a JSON object, or the path of a file that holds one, and return its text."""
    try:
        given = value if value.lstrip().startswith("{") else Path(value).read_text("utf-8")
        is_object = isinstance(json.loads(given), dict)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} in line {error.lineno}, column {error.colno}"
    except OSError as error:
        reason = f"{value[:100]} cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        reason = "it cannot be read"
    else:
        if is_object:
            return given
        reason = "it is JSON of another type"
    raise ValueError(f"{_TAKES_OBJECT}; {reason}")


def members_beside(*own: str) -> Callable[[str], str]:
    """Return a parser of a JSON object, or of its file's path, without the `own` members: `text`, or `text.format`."""

    def parse(value: str) -> str:
        given = json_object(value)
        members = json.loads(given)
        if taken := [path for path in own if _has_member(members, path)]:
            raise ValueError(f"{_TAKES_OBJECT}; Millrace itself sets {', '.join(taken)}")
        return given

    return parse


def _has_member(value: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    if not isinstance(value, dict) or name not in value:
        return False
    member: Any = value[name]
    return not rest or not isinstance(member, dict) or _has_member(member, rest)  # no object: in place of ours


def import_paths(value: str) -> tuple[str, ...]:
    """Parse import paths separated by commas."""
    paths = words(value)
    if not all(re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", path, re.ASCII) for path in paths):
        raise ValueError("takes import paths as package.module:name, separated by commas")
    return paths


def host_name(host: str) -> str:
    """Return the name in a `Host` header: in lower case, without the port and without the root's dot."""
    name = host.lower()
    if not name.endswith("]"):  # not an IPv6 address without a port
        name = name.rpartition(":")[0] or name
    return name.removesuffix(".")
