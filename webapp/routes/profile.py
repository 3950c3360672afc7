"""The routes of the profile: a user's description of themselves, and the assistant's name."""

import msgspec
from flask import Blueprint, Response, request

from millrace.webapp.generation.validation import convert
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import invalid
from millrace.webapp.request_input import read_object
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services
from millrace.worker.contract.profile import MAX_TEXT_CHARS, Fact, Profile, parse_profile
from millrace.worker.store import profiles

routes = Blueprint("profile", __name__, url_prefix="/api/profile")


class ProfileAnswer(msgspec.Struct, frozen=True):
    """The profile; `assistant_name` is null until the user, or the model after the next question, has set one."""

    assistant_name: str | None
    text: str
    facts: dict[str, Fact]


@routes.get("")
@limited("read")
@described(Description(answers={200: ProfileAnswer}))
def get_profile() -> Response:
    """Return the profile, an empty one if none is stored or the stored one is damaged."""
    owner = current_owner()
    stored = None if owner is None else services().database.read(lambda reader: profiles.find(reader, owner))
    return _render(parse_profile(stored or {}) or Profile())


@routes.put("")
@limited("create")
@described(Description(body=Profile, answers={200: ProfileAnswer}))
def put_profile() -> Response:
    """Replace the profile; without a name for the assistant, the model chooses one."""
    profile = convert(read_object(request, services().settings.limits.max_body_bytes), Profile)
    if profile.assistant_name is not None and not profile.assistant_name.strip():
        raise invalid("assistant_name", "The assistant's name must not be empty.")
    if profile.is_too_long:
        raise invalid(
            "facts", f"text and facts together have at most {MAX_TEXT_CHARS} characters. Shorten one of them."
        )
    owner = ensure_owner()
    services().database.run(lambda session: profiles.save(session, owner, msgspec.to_builtins(profile)))
    return _render(profile)


def _render(profile: Profile) -> Response:
    return json_response(ProfileAnswer(profile.assistant_name, profile.text, profile.facts))
