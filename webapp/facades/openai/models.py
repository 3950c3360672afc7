"""`/v1/models`: the models that a request may name; for authenticated clients, as clients check their key with it."""

from typing import Literal

import msgspec
from flask import Blueprint, Response

from millrace.webapp import problems
from millrace.webapp.facades.openai import errors, sdk_headers
from millrace.webapp.facades.openai.parameters import check_model
from millrace.webapp.guard.auth import current_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services

_CREATED = 1735689600  # the names come from the settings, which have no dates; clients expect some time

routes = Blueprint("openai_models", __name__, url_prefix="/v1/models")
problems.install(routes, errors.render)
sdk_headers.install(routes)


class ModelObject(msgspec.Struct, frozen=True):
    """A model that requests may name."""

    id: str
    object: Literal["model"] = "model"
    created: int = _CREATED
    owned_by: Literal["millrace"] = "millrace"


class ModelList(msgspec.Struct, frozen=True):
    """The models that requests may name, the default one first."""

    data: list[ModelObject]
    object: Literal["list"] = "list"


@routes.get("")
@limited("read")
@described(Description(answers={200: ModelList}, problem=errors.ErrorBody))
def list_models() -> Response:
    """Return the models."""
    current_owner()
    return json_response(ModelList([ModelObject(name) for name in services().settings.model_names]))


@routes.get("/<path:model>")
@limited("read")
@described(Description(answers={200: ModelObject}, problem=errors.ErrorBody))
def get_model(model: str) -> Response:
    """Return a model; its name may contain slashes."""
    current_owner()
    check_model(model, services().settings)
    return json_response(ModelObject(model))
