"""The operator's own arguments of ConverseStream and Converse (`MILLRACE_BEDROCK_REQUEST`), checked at the start."""

import json
from collections.abc import Mapping
from typing import Any, cast

from botocore.validate import ParamValidator

from millrace.worker.contract.request import ReasoningState
from millrace.worker.errors import SettingError

OWN_ARGUMENTS = ("modelId", "messages", "system", "inferenceConfig", "toolConfig")
"""The arguments that Millrace itself makes; all others of the service's model may be given."""
_REASONING_FIELDS = ("thinking", "reasoning_config", "reasoningConfig")  # the names that models have for it
NAME = "MILLRACE_BEDROCK_REQUEST"


def asks_for_reasoning(request: Mapping[str, Any]) -> bool | None:
    """Return whether the operator's arguments switch reasoning on; None if they leave it to the model."""
    fields = request.get("additionalModelRequestFields")
    given = (fields.get(name) for name in _REASONING_FIELDS) if isinstance(fields, Mapping) else ()
    configs = [each for each in given if isinstance(each, Mapping)]
    return configs[0].get("type") != "disabled" if configs else None


def may_reason(asks: bool | None, state: ReasoningState) -> bool:
    """Return whether a request that asks like this lets the model reason, as the one did that the reasoning is of."""
    return asks is True or (asks is None and not state.is_requested)


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
    return given
