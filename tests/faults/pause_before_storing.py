"""Loaded into a worker by `--include`: the worker stops itself by SIGSTOP just before it stores an answer.

It does so once, when a file asks for it.

The file is the database's path with `.stop` appended. The first worker that finds it removes it, and after SIGCONT
writes a file with `.late` appended, which says whether its answer was stored.
"""

import signal
from pathlib import Path

from gevent.monkey import get_original
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from millrace.worker.app import settings
from millrace.worker.store import answers
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.messages import StoredQuestion

_save_answer = answers.save_answer
_this_thread = get_original("_thread", "get_ident")
_path = make_url(settings.database.url).database


def _save_later(session: Session, question: StoredQuestion, answer: StoredAnswer) -> bool:
    try:
        Path(f"{_path}.stop").unlink()
    except FileNotFoundError:
        return _save_answer(session, question, answer)
    signal.pthread_kill(_this_thread(), signal.SIGSTOP)  # the process as a whole, and not a moment later
    is_kept = False  # also where another transaction is in its way: who waited for it has left by now
    try:
        is_kept = _save_answer(session, question, answer)
    finally:
        Path(f"{_path}.late").write_text("kept" if is_kept else "refused")
    return is_kept


answers.save_answer = _save_later
