"""Signatures of the emulated model's reasoning."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.signature import is_signature, sign


@given(st.text(st.characters()))
def test_signature_belongs_to_its_text_and_is_known_without_it(text: str) -> None:
    signature = sign(text)
    assert is_signature(signature)
    assert sign(text) == signature != sign(text + "x")
    for at in (0, 15, 16, 31):
        altered = signature[:at] + ("0" if signature[at] != "0" else "1") + signature[at + 1 :]
        assert not is_signature(altered)
    assert not is_signature("")
    assert not is_signature(signature[:-1])
