"""Stop sequences found in a text that arrives in pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Reasoning, ToolUse, Usage
from millrace.worker.providers.protocol import Delta, Stopped
from millrace.worker.providers.stop_sequences import StopSequenceFinder, stop_at

TEXTS = st.text("ab\n", max_size=30)


@given(TEXTS, st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_the_text_ends_before_the_first_sequence_wherever_it_is_split(
    text: str, sequences: list[str], data: st.DataObject
) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    finder, out = StopSequenceFinder(sequences), ""
    for start, end in pairwise([0, *places, len(text)]):
        if not finder.has_stopped:
            out += finder.take(text[start:end])
            assert finder.has_stopped or len(out) >= end - max(map(len, sequences)) + 1, "no more is kept than needed"
    out += finder.rest()
    # The first piece that completes a sequence decides, so a shorter one may win over a longer one that begins before.
    found = [at for each in sequences if (at := text.find(each)) >= 0]
    assert finder.has_stopped == bool(found)
    assert text.startswith(out)
    assert not any(each in out for each in sequences)
    assert found or out == text


def test_a_stop_sequence_ends_the_answer_and_other_deltas_pass() -> None:
    use, usage = ToolUse("1", "look_up", {}), Usage(1, 1)
    deltas: list[Delta] = [Chunk("one ST"), Reasoning("Hm."), Chunk("OP two"), Stopped("end_turn"), usage]
    assert list(stop_at(("STOP",), deltas)) == [Chunk("one "), Reasoning("Hm."), Stopped("stop_sequence")]
    deltas = [Chunk("one ST"), use, Stopped("tool_use"), usage]
    assert list(stop_at(("STOP",), deltas)) == [Chunk("one "), Chunk("ST"), use, Stopped("tool_use"), usage]
    assert list(stop_at(("STOP",), [Chunk("ST")])) == [Chunk("ST")]
