"""The route of models: those that requests may name."""

import msgspec
from flask import Blueprint, Response

from millrace.webapp.guard.auth import current_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services

routes = Blueprint("models", __name__, url_prefix="/api/models")


class ModelSchema(msgspec.Struct, frozen=True):
    """A model; `context_tokens` is the limit of prompt and answer together."""

    name: str
    is_default: bool
    context_tokens: int


class ModelPage(msgspec.Struct, frozen=True):
    """All models that requests may name, the default one first."""

    default: str
    models: list[ModelSchema]


@routes.get("")
@limited("read")
@described(Description(answers={200: ModelPage}))
def list_models() -> Response:
    """Return the models that a request may name, and the one that answers where it names none."""
    current_owner()  # 401 without credentials, as everywhere else
    settings = services().settings
    default = settings.default_model
    models = [
        ModelSchema(name, name == default, settings.candidates(name)[0].traits.window) for name in settings.model_names
    ]
    return json_response(ModelPage(default, models))
