import json
import re

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.openapi.typescript import PATH, event_types
from millrace.worker.contract.events import AnyEvent, encode, kind_of
from tests.worker.contract.test_events import SAMPLES

DECLARED = {
    found[1]: {name: not optional for name, optional in re.findall(r"^  (\w+)(\??): ", found[2], re.MULTILINE)}
    for found in re.finditer(r'interface \w+ \{\n  type: "(\w+)";\n(.*?)\}', event_types(), re.DOTALL)
}


def test_file_is_generated_from_the_current_structs() -> None:
    assert PATH.read_text("utf-8") == event_types(), (
        "run `python -m millrace.webapp.openapi`, and commit what it writes"
    )


@given(st.one_of(*SAMPLES.values()))
def test_every_event_has_exactly_the_declared_fields(event: AnyEvent) -> None:
    fields = DECLARED[kind_of(event)]
    sent = json.loads(encode(event))
    assert set(sent) - {"type"} <= set(fields)
    assert {name for name, is_required in fields.items() if is_required} <= set(sent)
    assert None not in [sent[name] for name, is_required in fields.items() if name in sent and not is_required]
