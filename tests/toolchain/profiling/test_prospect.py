from pathlib import Path

from tests.toolchain.profiling.made_tables import made_table
from toolchain.profiling import prospect


def test_tables_of_this_machine_and_others(tmp_path: Path) -> None:
    made_table().save(tmp_path / "a.json")
    made_table(device_name="Abacus 3000").save(tmp_path / "b.json")
    (tmp_path / "c.json").write_text("{}")
    (tmp_path / "schema.json").write_text("{}")
    first, second, third = prospect.tables(tmp_path)
    assert first == {"path": str(tmp_path / "a.json"), "fits": True, "reason": None}
    assert second["reason"].startswith("device_name is Abacus 3000, here it is ")
    assert "is not a latency table" in third["reason"]
    assert prospect.tables(tmp_path / "nowhere") == []


def test_the_state_of_this_machine() -> None:
    state = prospect.measuring()
    assert 0 <= state["quiet_share"] <= 1
    assert state["other_programs_cores"] >= 0
    assert isinstance(state["possible"], bool)
