"""Sentences against figures that are computed by hand from the made-up table.

In it every operation costs 1 ms, `global_average_pool` 2, an encoder's stage 2, upsampling with a
sum 3, and a head of n maps 4 - n; every spread is 0.1 ms.
"""

from pathlib import Path

import pytest

from tests.toolchain.profiling.made_tables import made_table
from toolchain.networks.encoders import describe_encoder
from toolchain.profiling.advice import Advice, advise
from toolchain.profiling.certificate import Case, Certificate
from toolchain.profiling.reading import Reading, Shares, unit_costs
from toolchain.profiling.table import LatencyTable

PAIR = ("mobilenetv2-0.35", "ghostnet-0.25")


def reading_of(table: LatencyTable) -> Reading:
    names = map(str, table.provenance.backbones)
    shares = {name: Shares(50.0, 60.0, 30.0, 9.0, 1.0) for name in names}
    return Reading(Path("table.json"), table, unit_costs(table), shares)


def told(table: LatencyTable, subject: str) -> list[Advice]:
    return [each for each in advise(reading_of(table)) if each.subject == subject]


def texts(table: LatencyTable, subject: str) -> list[str]:
    return [each.text for each in told(table, subject)]


def set_entry(table: LatencyTable, name: str, ms: float, iqr: float = 0.0) -> None:
    update = {"latency_ms": ms, "iqr_ms": iqr}
    table.entries[name] = table.entries[name].model_copy(update=update)


def certificate(mape: float = 10.0, kendall: float = 0.5, cases: tuple[Case, ...] = ()):
    return Certificate(
        architectures=20,
        seed=0,
        mape=mape,
        within_5_percent=50,
        within_10_percent=80,
        spearman=0.9,
        kendall=kendall,
        coverage=90,
        worst=[],
        cases=list(cases),
    )


def case(predicted: float, measured: float) -> Case:
    return Case(genotype="1 [0,1]", encoder="e", predicted_ms=predicted, measured_ms=measured)


def test_cheapest_and_dearest_at_equal_flops():
    # 1 ms for 2 * 128 * 128 * 48 * 48 * 9 = 0.6795 GFLOP, and for a ninth of that.
    assert texts(made_table(), "operations")[0] == (
        "At 128x128, conv3x3 is the cheapest operation for its FLOPs and conv1x1 the dearest: "
        "9.0 x at equal FLOPs (1.47 against 13.25 ms per GFLOP)."
    )
    assert [text[:8] for text in texts(made_table(), "operations")[1:4]] == [
        *("At 64x64", "At 32x32", "At 16x16")
    ]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("conv1x1", 48 * 48),
        ("sep_conv_3x3", 48 * 9 + 48 * 48),
        ("sep_conv_5x5_dil6", 48 * 25 + 48 * 48),
    ],
)
def test_operations_that_cost_more_than_their_flops_suggest(name, weights):
    ratio = 48 * 48 * 9 / weights
    (found,) = [
        each for each in told(made_table(), "operations") if each.text.startswith(f"{name} costs")
    ]
    assert found.ratio == pytest.approx(ratio)
    assert found.text == (
        f"{name} costs {ratio:.2f} x what its FLOPs suggest beside conv3x3 at 128x128: "
        f"{1 / ratio:.2f} x the FLOPs, 1.00 x the latency."
    )


def test_a_dilated_convolution_is_mentioned_where_it_differs():
    assert not any("conv3x3_dil12" in text for text in texts(made_table(), "operations"))
    table = made_table()
    set_entry(table, "conv3x3_dil12 48 128x128", 1.5)
    wanted = "conv3x3_dil12 costs 1.50 x what its FLOPs suggest beside conv3x3 at 128x128"
    assert any(text.startswith(wanted) for text in texts(table, "operations"))


def test_a_noisy_figure_is_no_basis():
    table = made_table()
    set_entry(table, "conv3x3_dil12 48 128x128", 1.5, iqr=0.76)
    set_entry(table, "global_average_pool 48 128x128", 9.0, iqr=5.0)
    set_entry(table, "global_average_pool 48 64x64", 7.0)
    about = texts(table, "operations")
    assert not any("conv3x3_dil12" in text for text in about)
    assert (
        "global_average_pool has next to no FLOPs, but costs 7.00 ms at 64x64, 7.0 x conv1x1."
        in (about)
    )
    # Both, and the head of four maps at each of four resolutions, which costs nothing.
    assert texts(table, "trust")[0].startswith(f"6 of {len(table.entries)} entries")
    assert "global_average_pool 48 128x128, 9.00 ms" in texts(table, "trust")[0]


def test_pooling_beside_its_flops():
    wanted = (
        "global_average_pool has next to no FLOPs, but costs 2.00 ms at 128x128, 2.0 x conv1x1."
    )
    assert wanted in texts(made_table(), "operations")


def test_encoders_at_equal_flops():
    table = made_table(PAIR)
    gflops = {name: sum(describe_encoder(name).stage_flops(512, 512)) / 1e9 for name in PAIR}
    # The weight of encoders is 2: 2 and 3.2 ms per GFLOP.
    for name, rate in zip(PAIR, (1.0, 1.6), strict=True):
        stages = [entry for entry in table.entries if entry.startswith(f"{name}/")]
        for entry in stages:
            set_entry(table, entry, rate * gflops[name] / len(stages))
    (found,) = told(table, "encoders")
    ms = [2 * gflops[PAIR[0]], 3.2 * gflops[PAIR[1]]]
    assert found.ratio == pytest.approx(1.6)
    assert found.text == (
        "On this device ghostnet-0.25 costs 1.6 x mobilenetv2-0.35 at equal FLOPs "
        f"(3.20 against 2.00 ms per GFLOP); as they are, {ms[1] / ms[0]:.2f} x "
        f"({ms[1]:.2f} against {ms[0]:.2f} ms)."
    )


def test_encoders_are_compared_at_the_largest_working_size():
    table = made_table(PAIR, working_sizes=[256, 384])
    for name in PAIR:
        stages = [entry for entry in table.entries if entry.startswith(f"{name}/")]
        for entry in stages:
            set_entry(table, entry, 1.0 if name == PAIR[0] else 3.0)
    (found,) = told(table, "encoders")
    assert f"{PAIR[1]} at 384 costs " in found.text
    assert "as they are, 3.00 x (24.00 against 8.00 ms)" in found.text


def test_what_a_smaller_working_size_saves():
    table = made_table(working_sizes=[256, 512])
    shares = {"mobilenetv2": 50.0, "mobilenetv2 at 256": 20.0}
    reading = Reading(
        Path("table.json"),
        table,
        unit_costs(table),
        {name: Shares(ms, 60.0, 30.0, 9.0, 1.0) for name, ms in shares.items()},
    )
    (found,) = [each for each in advise(reading) if each.subject == "working size"]
    assert found.ratio == pytest.approx(0.4)
    assert found.text == (
        "With mobilenetv2, a random network takes 0.40 x the time at the working size 256 that it "
        "takes at 512 (20.00 against 50.00 ms)."
    )
    assert told(made_table(), "working size") == []


def test_one_encoder_is_not_compared():
    assert told(made_table(), "encoders") == []


def test_shares():
    assert texts(made_table(), "shares") == [
        "With mobilenetv2, a random network spends 60 % of its time in the encoder, 30 % in the "
        "decoder and 9 % in the tail (logits to labels): the encoder takes 2.00 x the decoder."
    ]


def test_the_head_of_the_most_maps_at_the_finest_resolution():
    table = made_table()
    for maps, ms in enumerate((1.0, 2.0, 3.0, 4.5), 1):
        channels = "48" if maps == 1 else f"{48 * maps}>48"
        set_entry(table, f"head {channels} 128x128", ms)
    assert texts(table, "head") == [
        "A head that concatenates 4 maps costs 4.5 x one of a single map at 128x128 "
        "(4.50 against 1.00 ms): 1.17 ms for each further end."
    ]


def test_upsampling():
    table = made_table()
    set_entry(table, "upsample_add 48 32x32>128x128", 4.0)
    set_entry(table, "upsample_add 48 16x16>64x64", 9.0)
    assert texts(table, "upsampling") == [
        "Upsampling 32x32 to 128x128 and adding costs 4.00 ms, 4.0 x conv1x1 there."
    ]


def test_trust_is_what_the_certificate_says():
    table = made_table()
    table.certificate = certificate()
    assert texts(table, "trust")[1:] == [
        # sqrt(2) * 10
        "Differences below 14.1 % between two networks are within this table's error: one "
        "prediction is off by 10.0 % on average.",
        "Of two random networks it puts the faster one first in 75 of 100 cases.",
    ]


def test_a_loose_table_is_for_ranking():
    table = made_table()
    table.certificate = certificate(mape=10.1)
    assert texts(table, "trust")[2].endswith("but measure before you promise milliseconds.")


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ((case(11, 10), case(24, 20)), "It predicts 15.0 % too high on average: 1.15 x"),
        ((case(9, 10), case(16, 20)), "It predicts 15.0 % too low on average: 0.85 x"),
        ((case(11, 10), case(18, 20)), None),
        ((), None),
    ],
)
def test_a_bias_is_said_where_it_makes_the_error(cases, words):
    table = made_table()
    table.certificate = certificate(mape=15, cases=cases)
    found = texts(table, "trust")[3:]
    assert len(found) == (words is not None)
    assert not words or found[0].startswith(words)


def test_no_certificate_no_promise():
    assert len(told(made_table(), "trust")) == 1  # of the entries that cost nothing
