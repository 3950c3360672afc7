from millrace.webapp.facades.openai.ids import COMPLETION, MESSAGE, RESPONSE, id_of, own_id
from millrace.worker.contract.ids import is_id, new_id


def test_id_holds_one_of_ours_and_gives_it_back() -> None:
    ours = new_id()
    for prefix in (COMPLETION, RESPONSE, MESSAGE):
        assert id_of(prefix, ours).startswith(prefix)
        assert own_id(prefix, id_of(prefix, ours)) == ours
        assert own_id(prefix, ours) == ours, "another protocol's client has it"
    assert not is_id(own_id(COMPLETION, id_of(RESPONSE, ours)))
    assert len({id_of(MESSAGE, ours, number) for number in range(3)}) == 3
