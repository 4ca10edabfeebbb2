import json

import pytest

from tests.toolchain.profiling.made_tables import made_table
from toolchain.profiling.certificate import Case, Certificate, certify
from toolchain.profiling.table import LatencyTable


def case(name: str, predicted: float, measured: float) -> Case:
    return Case(genotype=name, encoder="e", predicted_ms=predicted, measured_ms=measured)


@pytest.fixture
def certificate():
    cases = [
        case("a", 10.0, 10.0),
        case("b", 19.0, 20.0),
        case("c", 33.0, 30.0),
        case("d", 25.0, 40.0),
    ]
    intervals = [(9, 11), (19, 21), (31, 35), (20, 30)]
    return certify(cases, intervals, seed=5)


def test_figures(certificate):
    assert certificate.architectures == 4
    assert certificate.seed == 5
    assert certificate.mape == pytest.approx(100 * (0 + 0.05 + 0.1 + 0.375) / 4, abs=0.01)
    assert certificate.within_5_percent == 50
    assert certificate.within_10_percent == 75
    assert certificate.spearman == pytest.approx(0.8)
    assert certificate.kendall == pytest.approx(2 / 3, abs=1e-3)
    assert certificate.coverage == 50
    assert [worst.genotype for worst in certificate.worst] == ["d", "c", "b", "a"]


def test_floors(certificate):
    assert certificate.complaint(None, None) is None
    assert certificate.complaint(20, 0.5) is None
    assert "13.1 %, above 10 %" in certificate.complaint(10, 0.5)
    assert "0.800, below 0.9" in certificate.complaint(20, 0.9)


def test_all_cases_are_kept_in_their_order(certificate):
    assert [each.genotype for each in certificate.cases] == ["a", "b", "c", "d"]
    errors = [each.signed_error for each in certificate.cases]
    assert errors == pytest.approx([0, -0.05, 0.1, -0.375])


def test_a_certificate_from_before_cases_is_read(certificate):
    document = certificate.model_dump(exclude={"cases"})
    assert Certificate.model_validate(document).cases == []


def test_a_case_knows_its_network():
    small = case("[[1], [[0, 1]]]", 1.0, 1.0).model_copy(update={"working_size": 256})
    assert str(small.architecture) == "e at 256 [[1], [[0, 1]]]"
    assert str(small.backbone) == "e at 256"
    before = Case.model_validate(small.model_dump(exclude={"working_size"}))
    assert str(before.architecture) == "e [[1], [[0, 1]]]"


def test_a_table_has_a_line_for_each_case(certificate, tmp_path):
    table = made_table()
    many = [each for _ in range(50) for each in certificate.cases]
    table.certificate = certify(many, [(0, 1)] * len(many), 0)
    path = tmp_path / "table.json"
    table.save(path)
    lines = path.read_text().splitlines()
    assert sum("measured_ms" in line for line in lines) == len(many) + 5
    assert '"genotype": "a", "encoder": "e", "working_size": null, ' in path.read_text()
    assert path.stat().st_size < 300_000
    assert LatencyTable.load(path).certificate == table.certificate


def test_the_text_of_a_table_is_its_document(certificate, tmp_path):
    table = made_table(device_name='An "odd" \\ name')
    table.certificate = certificate
    table.save(tmp_path / "table.json")
    assert json.loads((tmp_path / "table.json").read_text()) == table.model_dump(mode="json")


def test_the_pace_is_what_all_networks_have_in_common():
    cases = [
        Case(genotype="1 [0,1]", encoder="e", predicted_ms=p, measured_ms=1.1 * p * wobble)
        for p, wobble in ((10, 1.02), (20, 1 / 1.02), (30, 1.0), (40, 1.0))
    ]
    found = certify(cases, [(0, 100)] * 4, seed=0)
    assert found.pace == pytest.approx(1.1)
    assert found.mape == pytest.approx(100 * (1 - 1 / 1.1), abs=0.1)
    assert found.mape_at_pace == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("measured", "rough"), [(11.0, False), (12.5, True)])
def test_a_table_that_was_far_off_says_so_where_it_is_read(tmp_path, caplog, measured, rough):
    cases = [case("a", 10.0, measured), case("b", 20.0, 2 * measured)]
    table = made_table()
    table.certificate = certify(cases, [(9, 11), (19, 21)], seed=5)
    table.save(tmp_path / "table.json")
    LatencyTable.load(tmp_path / "table.json")
    assert ("% on average when it was made" in caplog.text) is rough
    assert ("off by 20 %" in caplog.text) is rough
