"""Cut a text that came in one piece into chunks, for readers who follow it. Pure."""

import re
from collections.abc import Iterator

CHUNK_CHARS = 20

_WORD = re.compile(r"\S*\s+|\S+")


def cut_into_chunks(text: str, size: int = CHUNK_CHARS) -> Iterator[str]:
    """Yield chunks of about `size` characters, cut after white space; longer words are cut, as in Chinese.

    Joined together they are the text.
    """
    chunk = ""
    for match in _WORD.finditer(text):
        word = match[0]
        if chunk and len(chunk) + len(word) > size:
            yield chunk
            chunk = ""
        if len(word) > 2 * size:
            yield from (word[at : at + size] for at in range(0, len(word), size))
        else:
            chunk += word
    if chunk:
        yield chunk
