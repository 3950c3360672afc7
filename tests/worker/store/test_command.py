"""The command `millrace-migrate`: its output and its exit codes."""

from pathlib import Path

from tests.forks import outputs_of


def migrate(database_url: str, *arguments: str) -> tuple[int, str]:
    (ended,) = outputs_of(["millrace.worker.store", *arguments], {"MILLRACE_DATABASE_URL": database_url})
    return ended


def test_first_run_migrates_an_empty_database_and_the_second_changes_nothing(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/new/millrace.db"
    assert migrate(address) == (0, "the database is at revision 0006 (was empty)\n")
    assert migrate(address) == (0, "the database is at revision 0006 (unchanged)\n")


def test_unreachable_database_exits_with_1_and_a_reason() -> None:
    code, output = migrate("postgresql://nobody@127.0.0.1:1/nothing")
    assert code == 1
    assert "the database could not be migrated: " in output
    assert "Traceback" not in output


def test_bad_setting_exits_with_1_and_names_the_variable() -> None:
    code, output = migrate("mysql://localhost/millrace")
    assert code == 1
    assert "MILLRACE_DATABASE_URL" in output
    assert "Traceback" not in output


def test_help_and_unknown_arguments_do_not_touch_the_database(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/millrace.db"
    assert migrate(address, "--help")[1].startswith("usage: millrace-migrate")
    assert migrate(address, "--unknown")[0] == 2
    assert list(tmp_path.iterdir()) == []
