"""The programs of the documentation: code blocks that begin with a comment which names their file."""

import re

from tests.docs.pages import ROOT, blocks

_NAME = re.compile(r"(?:#!.*\n)?(?:#|//) ([\w-]+\.(?:py|mjs|sh))\n")
_LANGUAGES = ("python", "js", "bash")


def programs(page: str) -> dict[str, str]:
    """Return the programs of a page by their file's name."""
    found = [(block, _NAME.match(block.code)) for language in _LANGUAGES for block in blocks(language)]
    return {name[1]: block.code for block, name in found if name and block.page == ROOT / page}


def with_constants(code: str, **values: str) -> str:
    """Return a program in which constants have other values; a constant that it has not is ignored."""
    for name, value in values.items():
        code = re.sub(rf"^((?:export |let |const )*{name} ?= ?)[^;\n]*", rf"\g<1>{value}", code, flags=re.MULTILINE)
    return code
