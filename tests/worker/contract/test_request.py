"""The request stored in the state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.request import (
    ModelRequest,
    PromptMessage,
    RequestSummary,
    decode_request,
    decode_summary,
    encode_request,
    encode_summary,
)

texts = st.text(alphabet=st.characters(), min_size=1)  # includes lone surrogates
requests = st.builds(
    ModelRequest,
    st.lists(st.builds(PromptMessage, st.sampled_from(["user", "assistant"]), texts), min_size=1),
    texts,
    st.integers(1, 4096),
    system=st.none() | texts,
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    stop_sequences=st.none() | st.lists(texts),
    search=st.sampled_from([True, False, "auto"]),
    metadata=st.none() | st.dictionaries(texts, texts),
)


@given(requests)
def test_request_round_trips(request: ModelRequest) -> None:
    encoded = encode_request(request)
    assert decode_request(encoded) == request
    assert decode_summary(encode_summary(request)) == RequestSummary(request.model, request.metadata)


def test_request_is_not_larger_than_its_text_in_utf_8() -> None:
    text = "\U0001f600" * 1000
    assert len(encode_request(ModelRequest([PromptMessage("user", text)], "m", 1))) < len(text.encode()) + 100


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"[]", b'{"messages":1,"model":"m","max_tokens":1}'])
def test_invalid_request_raises_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's and json's messages are their own
        decode_request(data)
