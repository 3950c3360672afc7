"""The error tree that is drawn at the top of its file."""

import re

from millrace.worker import errors
from millrace.worker.errors import MillraceError


def drawn() -> dict[str, str]:
    """Return the name of each drawn error, and of the one that it stands below."""
    path, parents = ["MillraceError"], dict[str, str]()
    for prefix, name in re.findall(r"^((?:│   |    )*)[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE):
        path[1 + len(prefix) // 4 :] = [name]
        parents[name] = path[-2]
    return parents


def test_drawing_of_the_error_tree_shows_every_error_below_its_base_class() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, MillraceError)]
    bases = {each.__name__: [base.__name__ for base in each.__bases__] for each in classes if each is not MillraceError}
    assert bases == {name: [parent] for name, parent in drawn().items()}
    assert {*bases, "MillraceError"} <= set(errors.__all__)
