"""What each scripted fault looks like: as a refusal before the stream, as an exception in it, or as none of both."""

from dataclasses import dataclass
from typing import Any

from deploy.emulator.directive import Fault
from deploy.emulator.errors import ServiceError


@dataclass(frozen=True)
class Refusal:
    """An error of the service's: its HTTP shape, its name within a stream, and its message."""

    status: int
    code: str
    event: str
    message: str
    in_stream_only: bool = False

    def as_error(self) -> ServiceError:
        """Return it as it comes instead of an answer."""
        return ServiceError(self.status, self.code, self.message)

    def as_payload(self) -> dict[str, Any]:
        """Return the payload it has within a stream."""
        if self.in_stream_only:
            return {"message": self.message, "originalMessage": "Scripted by the caller", "originalStatusCode": 500}
        return {"message": self.message}


REFUSALS: dict[Fault, Refusal] = {
    "throttle": Refusal(
        429, "ThrottlingException", "throttlingException", "Too many requests, please wait before trying again."
    ),
    "validation": Refusal(
        400, "ValidationException", "validationException", "The model returned the following errors: scripted."
    ),
    "unavailable": Refusal(
        503,
        "ServiceUnavailableException",
        "serviceUnavailableException",
        "Bedrock is unable to process your request.",
    ),
    "stream_error": Refusal(  # without a stream it is the model's error
        424,
        "ModelErrorException",
        "modelStreamErrorException",
        "The system encountered an unexpected error during processing. Try your request again.",
        in_stream_only=True,
    ),
}
