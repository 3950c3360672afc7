"""From a search service's JSON to pages: what is no page of the web is left out."""

import html
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx

from millrace.worker.context.search.engine import Found

ANSWER_BYTES = 2 << 20  # of a service's answer; a page of results has some 50 KB

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


def read_answer(client: httpx.Client, request: httpx.Request) -> bytes:
    """Return the body of a service's answer; raises httpx.HTTPError, ValueError where it is larger than it may be."""
    response = client.send(request, stream=True)
    try:
        response.raise_for_status()
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > ANSWER_BYTES:
                raise ValueError("a search service's answer is too large")
        return bytes(body)
    finally:
        response.close()


def pages(found: Iterable[Found], count: int) -> list[Found]:
    """Return the first pages that have an address of the web, each once, in plain text."""
    kept: dict[str, Found] = {}
    for each in found:
        if len(kept) < count and is_page(each.url):
            kept.setdefault(each.url, Found(plain(each.title), each.url, plain(each.text)))
    return list(kept.values())


def is_page(url: str) -> bool:
    """Tell whether a reader may be led there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and url.isprintable() and " " not in url


def plain(text: str) -> str:
    """Return a text of a search service without its markup, on one line."""
    return " ".join(html.unescape(_TAG.sub("", text)).split())
