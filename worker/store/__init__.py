"""The database of conversations, messages, profiles and memories, which outlive the logs. Shared by both tiers.

Its law: one file per noun, holding functions that take a `Session` and return frozen dataclasses. Call them inside
`Database.run(work)`, which is one short transaction with a time limit and may run `work` again. No session is open
while a model streams. `Database.run` raises `DatabaseUnavailable`, and every caller handles it. A function that takes a
`Reader` runs prepared queries only: `Database.read(work)` runs them without a transaction, at a fraction of the cost.

    database.read(lambda reader: conversations.find(reader, owner, conversation))

| file | contents |
|---|---|
| `database.py` | `Database(settings)`, created once per process without I/O; `run` and `read`, with a time limit |
| `prepared.py` | `PreparedInsert`, `PreparedQuery`, `Reader`: statements that are built once, and run by the driver |
| `conversations.py` | `create_or_touch find page rename set_title_if_untitled replace_context merge_context delete` |
| `messages.py` | `save_question page find find_question delete_unanswered` |
| `edits.py` | `find_turn replace_turns`: a question and all that follows it, replaced by a new question |
| `answers.py` | `save_answer find_answer find_answer_of_generation read_history mark_learned`; fenced by epoch |
| `conversation_search.py` | `search` over titles and messages, `index_pending`; its terms: `chat_terms.py` |
| `retention.py` | `find_expired mark_expired remove_messages`: deletion by age, in small steps |
| `holdings.py` | `count_holdings find_owned_conversations`: how much there is of one owner |
| `profiles.py` | `find save compare_and_set` |
| `memories.py` | `add page delete delete_all search`: full-text search within one owner |
| `search_terms.py` | the words that memories are indexed by and searched for; `stop_words.py` has those left out |
| `pagination.py` | pages and their cursors |
| `tables.py`, `columns.py` | the tables, and the types of their columns |
| `image_files.py` | `ImageFiles(directory)`: the images of answers, as files beside the database |
| `migration.py`, `migrations/` | Alembic; `command.py` is the script `millrace-migrate` |

`StoredQuestion` and `StoredAnswer` are saved; the dataclasses named `…Record` are what queries return. A function that
takes an owner returns None or False both for a row of another owner and for an absent one.
"""
