import numpy as np
import pytest

from export.kit.journal import Journal, JournalError, Measurements, read_journal

SETTINGS = {"threads": 2, "encoders": ["a"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "table.json.partial"


def test_goes_on_after_the_last_whole_line(path):
    journal = Journal(path, SETTINGS)
    journal.add("first", np.array([[1.0, 2.0]]), 2.0)
    journal.add("second", np.array([[3.0], [4.0]]), 2.0)
    with path.open("a") as file:
        file.write('["third", [[1')
    resumed = Journal(path, SETTINGS, resume=True)
    assert resumed.measured.keys() == {"first", "second"}
    assert resumed.levels == {"first": 2.0, "second": 2.0}
    resumed.add("third", np.array([[5.0]]), 2.0)
    again = Journal(path, SETTINGS, resume=True).measured
    assert {key: turns.tolist() for key, turns in again.items()} == {
        "first": [[1.0, 2.0]],
        "second": [[3.0], [4.0]],
        "third": [[5.0]],
    }


def test_starts_anew_unless_told(path):
    Journal(path, SETTINGS).add("first", np.array([[1.0]]), 2.0)
    anew = Journal(path, SETTINGS)
    assert not anew.measured
    anew.add("second", np.array([[1.0]]), 2.0)
    assert Journal(path, SETTINGS, resume=True).measured.keys() == {"second"}


def test_with_nothing_to_resume_it_starts(path):
    journal = Journal(path, SETTINGS, resume=True)
    assert not path.exists()
    journal.add("first", np.array([[1.0]]), 2.0)
    assert Journal(path, SETTINGS, resume=True).measured.keys() == {"first"}


@pytest.mark.parametrize("content", ["", "no JSON\n", '{"threads": 2}\n[1]\n', "\x00\n"])
def test_broken_journal_is_one_line(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(JournalError, match="leave out --resume to start anew"):
        Journal(path, SETTINGS, resume=True)


def test_other_settings_are_named(path):
    Journal(path, SETTINGS).add("first", np.array([[1.0]]), 2.0)
    with pytest.raises(JournalError, match="was begun with threads 2, not 1"):
        Journal(path, SETTINGS | {"threads": 1}, resume=True)


def test_removed_when_done(path):
    journal = Journal(path, SETTINGS)
    journal.add("first", np.array([[1.0]]), 2.0)
    journal.remove()
    journal.remove()
    assert not path.exists()


def test_a_journal_that_was_ended_has_its_facts(path):
    journal = Journal(path, SETTINGS)
    journal.add("first", np.array([[1.0, 2.0]]), 2.0)
    assert read_journal(path, "").facts is None
    journal.end({"seconds": 3.0})
    recorded = read_journal(path, "")
    assert (recorded.settings, recorded.facts) == (SETTINGS, {"seconds": 3.0})
    assert recorded.found.measured["first"].tolist() == [[1.0, 2.0]]
    # More can be measured afterwards.
    resumed = Journal(path, SETTINGS, resume=True)
    assert resumed.measured.keys() == {"first"}


def test_what_was_measured_at_another_speed_is_known(path):
    journal = Journal(path, SETTINGS)
    for key, level in (("a", 2.0), ("b", 3.3), ("c", 2.1), ("d", 1.5), ("e", 1.9)):
        journal.add(key, np.array([[1.0]]), level)
    assert journal.level_ms == 2.0
    assert journal.at_other_speeds(0.1) == ["b", "d"]
    # What is measured again counts as it is now, after an interruption too.
    journal.add("b", np.array([[1.5]]), 2.0)
    resumed = Journal(path, SETTINGS, resume=True)
    assert resumed.at_other_speeds(0.1) == ["d"]
    assert resumed.measured["b"].tolist() == [[1.5]]
    assert Measurements().at_other_speeds(0.1) == []
