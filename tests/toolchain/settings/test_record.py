"""The record of a run's settings, and what may change between two of them."""

import json
from pathlib import Path

import pytest
import torch

from export.system.errors import DataError, UsageError
from export.system.numbers import LARGEST_SEED
from toolchain.settings.base import Record, Settings, read_record, setting
from toolchain.settings.search_settings import RankSettings, SearchSettings
from toolchain.settings.training_settings import TrainingSettings


class Sample(Settings):
    data: str = setting(help="Data.")
    weights: tuple[Path, ...] = setting((), "Files.")
    tables: tuple[Path, ...] = setting((), "Files.", flag="table", known_by_name=True)
    epochs: int = setting(3, "Passes.", ge=1)
    workers: int = setting(1, "Processes.", free=True)
    storage: str | None = setting(None, "Address.", compared=str.lower)


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """Two files of one name, and one more."""
    found = {}
    for name, content in (("a/best.pt", "one"), ("b/best.pt", "two"), ("c.pt", "three")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        found[name] = path
    return found


def record(folder: Path, contents=None, **values) -> Record:
    return Record(folder, Sample.of(data="d", **values), contents or {})


def problem(later: Record) -> str:
    with pytest.raises(DataError) as error:
        later.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_record_holds_every_setting_and_what_the_files_held(tmp_path, files):
    record(tmp_path, {"images": "abc"}, weights=(files["c.pt"],), epochs=5).write()
    document = json.loads((tmp_path / "config.json").read_text())
    assert document["format_version"] == 2
    assert set(Sample.model_fields) < set(document)
    settings, contents = read_record(tmp_path / "config.json", Sample)
    assert settings == Sample.of(data="d", weights=(files["c.pt"],), epochs=5)
    assert contents["images"] == "abc"
    assert [len(digest) for name, digest in contents.items() if "c.pt" in name] == [64]


def test_settings_stay_unless_they_are_free(tmp_path):
    record(tmp_path, epochs=3, storage="HERE").write()
    record(tmp_path, epochs=3, storage="here", workers=4).check()
    assert "--epochs was 3, now it is 4; use the same settings" in problem(
        record(tmp_path, epochs=4, storage="HERE")
    )
    assert "--storage was here, now it is there" in problem(record(tmp_path, storage="there"))
    assert "--storage was here, now it is None" in problem(record(tmp_path))


def test_files_of_one_name_are_told_apart(tmp_path, files):
    both = (files["a/best.pt"], files["b/best.pt"])
    record(tmp_path, weights=both).write()
    record(tmp_path, weights=both).check()
    record(tmp_path, weights=both[::-1]).check()
    files["a/best.pt"].write_text("another")
    assert "a/best.pt has changed since; bring back what was there" in problem(
        record(tmp_path, weights=both)
    )
    assert "a/best.pt was there, and is missing now" in problem(record(tmp_path, weights=both[1:]))


def test_two_files_may_change_places(tmp_path, files):
    one, two = files["a/best.pt"], files["b/best.pt"]
    record(tmp_path, weights=(one, two)).write()
    one.write_text("two")
    two.write_text("one")
    record(tmp_path, weights=(one, two)).check()
    two.write_text("two")
    assert "a/best.pt has changed since" in problem(record(tmp_path, weights=(one, two)))


def test_a_file_may_move_but_not_to_another_flag(tmp_path, files):
    record(tmp_path, weights=(files["c.pt"],)).write()
    copy = tmp_path / "elsewhere.pt"
    files["c.pt"].rename(copy)
    record(tmp_path, weights=(copy,)).check()
    assert f"--table {copy} is new" in problem(record(tmp_path, weights=(copy,), tables=(copy,)))
    assert f"--weights {files['a/best.pt']} is new" in problem(
        record(tmp_path, weights=(files["a/best.pt"],))
    )


def test_a_file_that_is_known_by_its_name_keeps_it(tmp_path, files):
    record(tmp_path, tables=(files["c.pt"],)).write()
    (tmp_path / "a" / "c.json").write_text("three")
    record(tmp_path, tables=(tmp_path / "a" / "c.json",)).check()
    (tmp_path / "d.pt").write_text("three")
    assert f"--table {tmp_path / 'd.pt'} is new" in problem(
        record(tmp_path, tables=(tmp_path / "d.pt", files["c.pt"]))
    )


def test_further_contents_are_checked_by_name(tmp_path):
    record(tmp_path, {"images that score": "abc"}).write()
    record(tmp_path, {"images that score": "abc"}).check()
    assert "images that score has changed since" in problem(
        record(tmp_path, {"images that score": "abd"})
    )
    assert "images that score was there" in problem(record(tmp_path))


def test_a_bound_is_named_by_its_flag():
    with pytest.raises(UsageError, match=r"^--epochs: Input should be greater than or equal to 1$"):
        Sample.of(data="d", epochs=0)


def test_seeds_are_numbers_that_torch_takes():
    torch.Generator().manual_seed(LARGEST_SEED)
    SearchSettings.of(data="d", seed=LARGEST_SEED)
    for settings in (SearchSettings, TrainingSettings, RankSettings):
        required = {"data": "d", "genotype": "9 [0, 3]"}
        given = {name: required[name] for name in required.keys() & settings.model_fields.keys()}
        with pytest.raises(UsageError, match="--seed: Input should be less than or equal to"):
            settings.of(**given, seed=LARGEST_SEED + 1)
