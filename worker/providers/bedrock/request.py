"""The operator's own arguments of ConverseStream and Converse (`MILLRACE_BEDROCK_REQUEST`), checked at the start."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from botocore.validate import ParamValidator

from millrace.worker.errors import SettingError

OWN_ARGUMENTS = ("modelId", "messages", "system", "inferenceConfig", "toolConfig")
"""The arguments that Millrace itself makes; all others of the service's model may be given."""
_FIELDS = "additionalModelRequestFields"
NAME = "MILLRACE_BEDROCK_REQUEST"


def checked_request(client: Any, value: str) -> dict[str, Any]:
    """Return the arguments in `value`, a JSON object or nothing; raises SettingError that names what is wrong.

    They are checked against botocore's model of ConverseStream, which is as new as the installed botocore.
    """
    if not value:
        return {}
    given = cast("dict[str, Any]", json.loads(value))
    shape = client.meta.service_model.operation_model("ConverseStream").input_shape
    allowed = [name for name in shape.members if name not in OWN_ARGUMENTS]
    if unknown := [name for name in given if name not in allowed]:
        raise SettingError(f"{NAME}: takes an object with any of {', '.join(allowed)}; not {', '.join(unknown)}")
    for name, each in given.items():
        report = ParamValidator().validate(each, shape.members[name])
        if report.has_errors():
            raise SettingError(f"{NAME}: {name}: {report.generate_report()}")
        for place, enum in _unknown_words(each, shape.members[name], name):
            raise SettingError(f"{NAME}: {place}: takes one of {', '.join(enum)}")
    if not isinstance(given.get(_FIELDS, {}), dict):
        raise SettingError(f"{NAME}: {_FIELDS}: takes an object")
    return given


def _unknown_words(value: Any, shape: Any, place: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the place of each word that is none of its enumeration, with this; botocore itself lets it pass."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        for name, each in cast("Mapping[str, Any]", value).items():
            if name in shape.members:
                yield from _unknown_words(each, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield place, shape.enum
