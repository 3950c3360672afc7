import json
import re

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.openapi.typescript import API_PATH, EVENTS_PATH, api_types, event_types
from millrace.worker.contract.events import AnyEvent, encode, kind_of
from tests.worker.contract.test_events import SAMPLES

DECLARED = {
    found[1]: {name: not optional for name, optional in re.findall(r"^  (\w+)(\??): ", found[2], re.MULTILINE)}
    for found in re.finditer(r'interface \w+ \{\n  type: "(\w+)";\n(.*?)\}', event_types(), re.DOTALL)
}


def test_files_are_generated_from_the_current_structs() -> None:
    for path, text in ((EVENTS_PATH, event_types()), (API_PATH, api_types())):
        assert path.read_text("utf-8") == text, "run `python -m millrace.webapp.openapi`, and commit what it writes"


def test_types_of_the_events_are_imported_and_not_declared_again_in_the_types_of_the_api() -> None:
    declared = [
        set(re.findall(r"^export interface (\w+)", text, re.MULTILINE)) for text in (event_types(), api_types())
    ]
    assert {"Receipt", "GenerationView", "ConversationSchema", "MessageSchema", "ProblemBody"} <= declared[1]
    assert not declared[0] & declared[1]


@given(st.one_of(*SAMPLES.values()))
def test_every_event_has_exactly_the_declared_fields(event: AnyEvent) -> None:
    fields = DECLARED[kind_of(event)]
    sent = json.loads(encode(event))
    assert set(sent) - {"type"} <= set(fields)
    assert {name for name, is_required in fields.items() if is_required} <= set(sent)
    assert None not in [sent[name] for name, is_required in fields.items() if name in sent and not is_required]
