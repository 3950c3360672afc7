"""What outlives the logs, in SQL: conversations, messages, profiles, memories. Both tiers may enter this room.

Its law: one file a noun, of plain functions that take a `Session` and return frozen dataclasses; whoever calls them
does so inside `Database.run(work)`, which is one short transaction, bounded in time, that may be run again. No session
is held while anything streams. `Database.run` raises `DatabaseUnavailable`, which every caller bears.

    database.run(lambda session: conversations.find(session, owner, conversation))

| file | what |
|---|---|
| `database.py` | `Database(settings)`, made once a process without I/O; `run(work, seconds)` |
| `conversations.py` | `ensure find page rename name put_context forget` |
| `messages.py` | `save_question page question_of` and what a conversation holds |
| `answers.py` | `save_answer answer answer_of_generation history claim_learning`: the fence by epoch is here |
| `profiles.py` | `find put exchange` |
| `memories.py` | `add page forget forget_all search`: full text, limited to an owner |
| `tables.py`, `columns.py` | the tables, and the types of their columns |
| `migration.py`, `migrations/` | Alembic; `python -m millrace.worker.store` brings a database up to date |

Foreign and absent are the same: every function that takes an owner answers None or False for both.
"""
