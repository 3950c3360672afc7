"""From where a client's cursor goes on, once the log may have expired."""

from millrace.webapp.services import services
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import read
from millrace.worker.contract.state import GenerationState


def resumed(state: GenerationState, after: Cursor) -> Cursor:
    """Return the cursor to follow from; raises RedisUnavailable.

    Who has seen what came between outcome and `done`, which the stored answer does not tell, is at its end.
    """
    is_beyond = state.is_done and after.epoch == state.top.epoch and after > state.top
    return state.top if is_beyond and not _has_log(state.generation) else after


def _has_log(generation: str) -> bool:
    return bool(read(services().redis, generation, count=1).entries)
