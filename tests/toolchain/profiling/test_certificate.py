import pytest

from toolchain.profiling.certificate import Case, certify


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
