"""The database of a run in every state in which it can be found; only the training is a formula."""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from stand_in import CLASSES, evaluate, searched

from export.system.errors import DataError, UsageError
from export.system.files import read_json, write_json
from toolchain.search import database
from toolchain.search.database import DATABASE
from toolchain.search.executors import InlineExecutor
from toolchain.search.kept_result import NAME
from toolchain.search.launch import check_free
from toolchain.search.run import Run
from toolchain.search.study import Search
from toolchain.search.trial import candidate_of
from toolchain.settings.base import Record
from toolchain.settings.search_settings import SearchSettings

SMALL = {"data": "formula", "trials": 4, "rescore": 0, "algorithm": "random", "cells": 1}


def settings_of(**settings):
    return SearchSettings.of(**(SMALL | settings))


def resume(path, trials=4, **settings):
    chosen = settings_of(trials=trials, **settings)
    check_free(chosen, path, resume=True)
    return Search(chosen, path, CLASSES).run(InlineExecutor(evaluate))


def tables_of(file):
    with sqlite3.connect(file) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of four trials."""
    return searched(tmp_path_factory.mktemp("finished") / "run", **SMALL)


@pytest.fixture
def path(finished, tmp_path):
    """A copy of it, to be ill-treated."""
    return Path(shutil.copytree(finished.path, tmp_path / "run"))


NAMES = ["a?b", "a?c", "a#b", "a%41b", "a b", "äö 日本", "{x}", "a%20b?mode=memory#x", "a&b=c;d"]


def test_a_run_may_have_any_name(tmp_path):
    """Two names that begin alike are two runs."""
    found = [searched(tmp_path / name, seed=n, **SMALL) for n, name in enumerate(NAMES)]
    for name, run in zip(NAMES, found, strict=True):
        assert {each.name for each in (tmp_path / name).iterdir()} == {"config.json", DATABASE}
        assert Run.load(tmp_path / name).trials == run.trials
    assert {each.name for each in tmp_path.iterdir()} == set(NAMES)
    assert len({str([trial.genotype for trial in run.trials]) for run in found}) == len(NAMES)


def test_a_storage_is_the_same_file_from_every_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    trials = searched(tmp_path / "run", storage="sqlite:///a?b.db", **SMALL).trials
    assert [each.name for each in Path().iterdir()] == ["a?b.db"]
    monkeypatch.chdir(tmp_path)
    assert Run.load(tmp_path / "run").trials == trials
    assert not (tmp_path / "a?b.db").exists()


@pytest.mark.parametrize(
    "storage",
    ["", "nonsense", "memory:", "study.db", "sqlite://", "sqlite:///", "sqlite:///:memory:"],
)
def test_a_storage_that_names_no_database_is_refused(storage):
    with pytest.raises(UsageError, match=r"--storage: .*sqlite:///FILE"):
        settings_of(storage=storage)


@pytest.mark.parametrize(
    ("storage", "problem"),
    [
        ("redis://localhost", "cannot be read .*redis"),
        ("sqlite:////dev/null", "/dev/null: is not a file; give --storage another one"),
        ("sqlite:////no/such/folder/x.db", "x.db: cannot be written; give --storage another file"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/db", r"u:\*\*\*@.*cannot be read .*refused"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_noticed_before_anything_is_made(
    tmp_path, storage, problem
):
    with pytest.raises(DataError, match=problem):
        check_free(settings_of(storage=storage), tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE photos (id INT)",
        "CREATE TABLE studies (id INT, title TEXT)",
        "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE users (id INT)",
    ],
)
def test_another_program_s_database_is_refused_and_nothing_is_added_to_it(tmp_path, statement):
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.executescript(statement)
    before = file.read_bytes()
    chosen = settings_of(storage=f"sqlite:///{file}")
    with pytest.raises(DataError, match=r"other\.db: is another program's \(it has a table"):
        check_free(chosen, tmp_path / "run", resume=False)
    with pytest.raises(DataError, match="is another program's"):
        Search(chosen, tmp_path / "run", CLASSES).run(InlineExecutor(evaluate))
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize("lost", ["deleted", "emptied", "without tables"])
def test_trials_that_are_gone_are_said_to_be_gone(path, lost):
    file = path / DATABASE
    file.unlink()
    if lost == "emptied":
        file.touch()
    elif lost == "without tables":
        sqlite3.connect(file).executescript("CREATE TABLE a (b INT); DROP TABLE a")
    size = file.stat().st_size if file.exists() else None
    for use in (Run.load, resume):
        with pytest.raises(DataError, match=r"study\.db: is gone or empty, and .* bring its trial"):
            use(path)
    assert (file.stat().st_size if file.exists() else None) == size


def test_a_search_whose_settings_are_gone_is_not_begun_anew(path):
    (path / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: is gone, and .*study\.db holds its search"):
        check_free(settings_of(), path, resume=False)


def test_a_search_that_was_killed_before_its_first_trial_may_begin_anew(tmp_path):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(settings_of(), tmp_path, CLASSES).run(InlineExecutor(evaluate), begun=killed)
    assert (tmp_path / DATABASE).exists()
    check_free(settings_of(), tmp_path, resume=False)
    Record(tmp_path, settings_of()).write()
    assert len(resume(tmp_path)) == 4


def test_random_bytes_in_a_database_are_one_line_or_change_nothing(finished, path):
    """Wherever they are; free space in its pages holds nothing."""
    whole = (path / DATABASE).read_bytes()
    generator, refused = random.Random(0), []
    for _ in range(12):
        size = generator.choice([20, 400, 8000])
        start = generator.randrange(len(whole) - size)
        damaged = whole[:start] + generator.randbytes(size) + whole[start + size :]
        (path / DATABASE).write_bytes(damaged)
        try:
            assert len(Run.load(path).trials) == len(finished.trials)
        except DataError as error:
            refused.append(str(error))
            with pytest.raises(DataError):
                resume(path)
    assert len(refused) > 3
    assert all(line.startswith(f"{path / DATABASE}: ") and "\n" not in line for line in refused)


OF_NO_SEARCH = {
    "null": "UPDATE trial_user_attributes SET value_json = 'null'",
    "fields missing": "UPDATE trial_user_attributes SET value_json = '{\"id\": 1}'",
    "not JSON": "UPDATE trial_user_attributes SET value_json = '{'",
    "no candidate": "DELETE FROM trial_user_attributes WHERE trial_id = 2",
    "another number": "UPDATE trial_user_attributes SET trial_id = 7 - trial_id + 100; "
    "UPDATE trial_user_attributes SET trial_id = trial_id - 102",
    "a complete trial without a score": "UPDATE trial_user_attributes SET value_json = "
    "json_set(value_json, '$.score', null)",
    "a score of nan": "UPDATE trial_user_attributes SET value_json = "
    "replace(value_json, '\"stop_below\": null', '\"stop_below\": NaN')",
    "a value is missing": "DELETE FROM trial_values WHERE trial_id = 2",
    "infinite values": "UPDATE trial_values SET value_type = 'INF_POS', value = NULL",
    "another state": "UPDATE trials SET state = 'WAITING' WHERE trial_id = 2; "
    "DELETE FROM trial_params WHERE trial_id = 2",
    "no such state": "UPDATE trials SET state = 'x'",
    "numbers with a gap": "UPDATE trials SET number = 9 WHERE trial_id = 2",
    "other decisions": "UPDATE trial_params SET param_name = param_name || 'x'",
    "a decision beyond its options": "UPDATE trial_params SET param_value = 99",
    "no number": "INSERT INTO study_user_attributes VALUES (9, 1, 'rescored x', '{}')",
    "a longer training": "INSERT INTO study_user_attributes VALUES (9, 1, 'rescored 0', 'null')",
}


@pytest.mark.parametrize("change", OF_NO_SEARCH)
def test_what_no_search_has_written_is_one_line(path, change):
    with closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.executescript(OF_NO_SEARCH[change])
    with pytest.raises(
        DataError, match=r"study\.db: .*; .*(bring back|take another|give)"
    ) as error:
        resume(path, trials=5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("state", ["closed", "killed"])
def test_a_run_that_nobody_can_write_to_is_read(finished, path, read_only, state):
    if state == "killed":  # what it committed last is in the log beside
        script = """
import os, sys
from pathlib import Path
from test_database import CLASSES, settings_of, evaluate, InlineExecutor, Search
done = []
def report(trial):
    done.append(trial)
    if len(done) == 3:
        os._exit(9)
Search(settings_of(trials=7), Path(sys.argv[1]), CLASSES).run(InlineExecutor(evaluate), report)
"""
        here = Path(__file__).parent
        paths = os.pathsep.join([str(here), str(here.parents[2])])
        environment = os.environ | {"PYTHONPATH": paths}
        command = [sys.executable, "-c", script, str(path)]
        assert subprocess.run(command, env=environment, check=False).returncode == 9
        assert (path / f"{DATABASE}-wal").stat().st_size
    shown = read_only(path)
    assert len(Run.load(shown).trials) == {"closed": 4, "killed": 7}[state]
    assert Run.load(shown).trials[:4] == finished.trials
    with pytest.raises(DataError, match=r"new\.db: cannot be written; give --storage another"):
        check_free(settings_of(storage=f"sqlite:///{shown}/new.db"), path / "new", resume=False)


LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


def lock(path, seconds):
    command = [sys.executable, "-c", LOCK, str(path / DATABASE), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    process.stdout.close()
    return process


def locking(path, seconds, locks):
    """Evaluate; while the second candidate is at work another program locks the database."""

    def call(candidate):
        if candidate.number == 5:
            locks.append(lock(path, seconds))
        return evaluate(candidate)

    return InlineExecutor(call)


def test_a_locked_database_is_waited_for(finished, path, monkeypatch, caplog):
    monkeypatch.setattr(database, "SILENCE", 0.1)
    locks = []
    trials = Search(settings_of(trials=7), path, CLASSES).run(locking(path, 0.6, locks))
    assert locks.pop().wait() == 0
    assert len(trials) == 7
    assert trials[:4] == finished.trials
    assert f"waiting for {path / DATABASE}: another program has locked it" in caplog.text


def test_a_slow_machine_is_no_locked_database(finished, read_only, monkeypatch, caplog):
    shown, begin = read_only(finished.path), database.has_studies

    def slowly(url):
        time.sleep(0.3)
        return begin(url)

    monkeypatch.setattr(database, "SILENCE", 0.1)
    monkeypatch.setattr(database, "has_studies", slowly)
    for place in (finished.path, shown):
        assert len(Run.load(place).trials) == 4
    assert not caplog.text


def stay_locked(path, monkeypatch, then="unstored.json keeps the result"):
    """Search until the database is locked for longer than is waited for, then unlock it."""
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    locks = []
    words = rf"study\.db: cannot be written \(database is locked\); .* --resume: {re.escape(then)}"
    with pytest.raises(DataError, match=words):
        Search(settings_of(trials=7), path, CLASSES).run(locking(path, 60, locks))
    (holder,) = locks
    holder.kill()
    holder.wait()


def test_a_result_that_a_locked_database_does_not_take_is_not_trained_again(path, monkeypatch):
    stay_locked(path, monkeypatch)
    assert len(Run.load(path).trials) == 5
    again = []
    chosen = settings_of(trials=7)
    check_free(chosen, path, resume=True)
    search = Search(chosen, path, CLASSES)
    trials = search.run(InlineExecutor(lambda c: again.append(c.number) or evaluate(c)))
    assert [trial.id for trial in trials] == list(range(7))
    assert again == [6]
    assert trials[5].score == evaluate(candidate_of(trials[5])).score
    assert not (path / NAME).exists()
    assert Run.load(path).trials == trials


def test_a_longer_training_that_a_locked_database_does_not_take_is_kept(path, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.2)
    locks, longer = [], []

    def call(candidate):
        longer.append(candidate.number)
        if len(longer) == 2:
            locks.append(lock(path, 60))
        return evaluate(candidate)

    with pytest.raises(DataError, match=r"unstored\.json keeps the result"):
        Search(settings_of(rescore=3), path, CLASSES).run(InlineExecutor(call))
    locks[0].kill()
    locks[0].wait()
    search = Search(settings_of(rescore=3), path, CLASSES)
    search.run(InlineExecutor(lambda c: longer.append(c.number) or evaluate(c)))
    assert len(longer) == len({*longer}) == len(search.finalists) == 3


def test_a_result_that_cannot_be_kept_is_said_to_be_trained_again(path, monkeypatch):
    (path / NAME).mkdir()
    stay_locked(path, monkeypatch, "what was not stored is trained again")
    assert len(resume(path, trials=7)) == 7


@pytest.mark.parametrize("change", ["of other trials", "damaged"])
def test_a_kept_result_that_does_not_fit_is_said_so(path, monkeypatch, caplog, change):
    stay_locked(path, monkeypatch)
    document = read_json(path / NAME)
    if change == "damaged":
        document["candidate"]["score"] = "good"
        write_json(path / NAME, document)
        with pytest.raises(DataError, match=r"unstored\.json: candidate.score: .*; remove it"):
            resume(path, trials=7)
        return
    document["candidate"]["genotype"] = "[[1, [0, 0, 1, 1]], [[0, 1]]]"
    write_json(path / NAME, document)
    assert len(resume(path, trials=7)) == 7
    assert "unstored.json is of other trials; it is left alone" in caplog.text
    assert read_json(path / NAME) == document


def test_a_search_whose_disk_is_full_goes_on_where_it_was(tmp_path, mount):
    whole = searched(tmp_path / "whole", **SMALL | {"trials": 60}).trials
    disk = mount("tmpfs", "size=420k")
    with pytest.raises(DataError, match=r"study\.db: cannot be written \(.*(full|disk I/O)"):
        searched(disk / "run", **SMALL | {"trials": 60})
    kept = Run.load(disk / "run").trials
    assert 0 < len(kept) < 60
    mount("tmpfs", "remount,size=8m")
    trials = resume(disk / "run", trials=60)
    assert [trial.genotype for trial in trials] == [trial.genotype for trial in whole]
    assert trials[: len(kept)] == kept


def test_a_record_is_written_when_the_study_is_there(tmp_path):
    seen = []
    Search(settings_of(), tmp_path, CLASSES).run(
        InlineExecutor(evaluate), begun=lambda: seen.append(tables_of(tmp_path / DATABASE))
    )
    assert len(seen) == 1
    assert "studies" in seen[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: shutil.rmtree(path), "cannot be written .No such file"),
        (
            lambda path: (path / DATABASE).write_bytes(
                (path / DATABASE).rename(path / "old").read_bytes()
            ),
            "was replaced while the search wrote to it",
        ),
    ],
)
def test_trials_are_not_written_where_nobody_finds_them(path, change, problem):
    def removing(candidate):
        change(path)
        return evaluate(candidate)

    with pytest.raises(DataError, match=rf"study\.db: {problem}"):
        Search(settings_of(trials=7), path, CLASSES).run(InlineExecutor(removing))
