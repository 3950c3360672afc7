"""The operator's own arguments (`MILLRACE_BEDROCK_REQUEST`), written for Converse, as InvokeModel takes them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from millrace.worker.errors import SettingError
from millrace.worker.providers.bedrock.request import NAME, checked_request

_HONOURED = ("guardrailConfig", "performanceConfig", "serviceTier", "requestMetadata", "additionalModelRequestFields")
_PROCESSING_MODES = {"sync": "SYNCHRONOUS", "async": "ASYNCHRONOUS"}

Object = dict[str, Any]


@dataclass(frozen=True)
class InvokeRequest:
    """Additions to each request: arguments of InvokeModel, members of the body, and metadata for invocation logs."""

    arguments: Object = field(default_factory=dict[str, Any])
    body: Object = field(default_factory=dict[str, Any])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def arguments_with(self, metadata: Mapping[str, str]) -> Object:
        """Return the arguments with a request's own metadata as well, which InvokeModel takes as JSON in a header."""
        both = {**metadata, **self.metadata}
        return {**self.arguments, **({"requestMetadata": json.dumps(both)} if both else {})}


def to_invoke_request(client: Any, value: str) -> InvokeRequest:
    """Return the arguments in `value`, a JSON object or nothing; raises SettingError that names what is wrong.

    An argument that only Converse has is refused: without it, answers would not be what the operator asks for.
    """
    given = checked_request(client, value)
    same = {name: each for name, each in given.items() if name not in _HONOURED and _is_same(client, name)}
    if refused := [name for name in given if name not in _HONOURED and name not in same]:
        raise SettingError(
            f"{NAME}: bedrock-invoke calls InvokeModel, which has no {', '.join(refused)}; leave them out, or "
            "bedrock-invoke out of MILLRACE_PROVIDERS"
        )
    body = dict(cast("Object", given.get("additionalModelRequestFields", {})))
    guardrail = cast("Object", given.get("guardrailConfig", {}))
    if guardrail and not {"guardrailIdentifier", "guardrailVersion"} <= guardrail.keys():
        raise SettingError(f"{NAME}: guardrailConfig: needs guardrailIdentifier and guardrailVersion")
    if "streamProcessingMode" in guardrail:
        mode = _PROCESSING_MODES[guardrail["streamProcessingMode"]]
        body["amazon-bedrock-guardrailConfig"] = {"streamProcessingMode": mode}
    arguments = {
        "guardrailIdentifier": guardrail.get("guardrailIdentifier"),
        "guardrailVersion": guardrail.get("guardrailVersion"),
        "trace": str(guardrail.get("trace", "")).upper() or None,
        "performanceConfigLatency": cast("Object", given.get("performanceConfig", {})).get("latency"),
        "serviceTier": cast("Object", given.get("serviceTier", {})).get("type"),
    }
    known = same | {name: each for name, each in arguments.items() if each is not None}
    return InvokeRequest(known, body, cast("dict[str, str]", given.get("requestMetadata", {})))


def _is_same(client: Any, name: str) -> bool:
    """Return whether InvokeModel has the argument of Converse under the same name and with the same shape."""
    model = client.meta.service_model
    of_converse = model.operation_model("ConverseStream").input_shape.members[name]
    of_invoke = model.operation_model("InvokeModelWithResponseStream").input_shape.members.get(name)
    return of_invoke is not None and of_invoke.name == of_converse.name
