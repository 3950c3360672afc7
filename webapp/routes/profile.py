"""The routes of the profile: who the user is, and what the assistant is called."""

import msgspec
from flask import Blueprint, Response, request

from millrace.webapp.generation.validation import convert
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.problems import invalid
from millrace.webapp.request_body import read_object
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services
from millrace.worker.contract.profile import Fact, Profile, parse_profile
from millrace.worker.store import profiles

routes = Blueprint("profile", __name__, url_prefix="/api/profile")


class ProfileAnswer(msgspec.Struct, frozen=True):
    """The profile; `assistant_name` is null until somebody, or the model after the next question, has given one."""

    assistant_name: str | None
    text: str
    facts: dict[str, Fact]


@routes.get("")
@described(Description(answers={200: ProfileAnswer}))
def get_profile() -> Response:
    """Return the profile; who has none, or a damaged one, has an empty one."""
    owner = current_owner()
    kept = None if owner is None else services().database.run(lambda session: profiles.find(session, owner))
    return _reply(parse_profile(kept or {}) or Profile())


@routes.put("")
@limited("create")
@described(Description(body=Profile, answers={200: ProfileAnswer}))
def put_profile() -> Response:
    """Keep a profile in the place of any before; without a name for the assistant, the model makes one up."""
    profile = convert(read_object(request, services().settings.limits.max_body_bytes), Profile)
    if profile.assistant_name is not None and not profile.assistant_name.strip():
        raise invalid("assistant_name", "A name must not be empty.")
    owner = ensure_owner()
    services().database.run(lambda session: profiles.put(session, owner, msgspec.to_builtins(profile)))
    return _reply(profile)


def _reply(profile: Profile) -> Response:
    return json_response(ProfileAnswer(profile.assistant_name, profile.text, profile.facts))
