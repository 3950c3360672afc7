"""Included in a worker: it stands still, by SIGSTOP, just before it stores an answer, where a file says so.

The file is named by the database's path with `.stop` behind it; the first worker that finds it takes it away.
"""

import os
import signal
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.orm import Session

from worker.app import settings
from worker.store import answers
from worker.store.answers import Answer
from worker.store.messages import Question

_save_answer = answers.save_answer


def stop_file(database_url: str) -> Path:
    """Return the file that has a worker stop."""
    return Path(f"{make_url(database_url).database}.stop")


def _save_later(session: Session, question: Question, answer: Answer) -> bool:
    try:
        stop_file(settings.database_url).unlink()
    except FileNotFoundError:
        return _save_answer(session, question, answer)
    os.kill(os.getpid(), signal.SIGSTOP)
    return _save_answer(session, question, answer)


answers.save_answer = _save_later
