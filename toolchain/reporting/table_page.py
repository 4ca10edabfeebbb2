"""A latency table as one HTML page: its error, what units cost, and advice."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from export.system.files import write_text
from toolchain.genotype import OPERATIONS
from toolchain.profiling.advice import advise
from toolchain.profiling.certificate import Case
from toolchain.profiling.reading import Reading, read_table, resolutions
from toolchain.reporting import table_figures
from toolchain.reporting.markup import card, section
from toolchain.reporting.standalone import Figures, standalone_page


def write_table_page(path: str | Path, output: str | Path) -> dict[str, Any]:
    """Write the page of a latency table, of this machine or another.

    Args:
        path: the table.
        output: the HTML file, about 5 MB because plotly.js is in it.

    Returns:
        ``{"output", "table", "networks", "only_worst"}``: the number of networks that are drawn,
        and whether the table kept none but the worst.

    Raises:
        DataError: the table cannot be read, or lacks an entry.
    """
    reading = read_table(path)
    cases, only_worst = drawn_cases(reading)
    write_text(output, table_page(reading))
    return {
        "output": str(output),
        "table": str(path),
        "networks": len(cases),
        "only_worst": only_worst,
    }


def drawn_cases(reading: Reading) -> tuple[Sequence[Case], bool]:
    """Return the networks of the certificate, and whether the table kept none but the worst."""
    certificate = reading.table.certificate
    if certificate is None:
        return [], False
    return certificate.cases or certificate.worst, not certificate.cases


def table_page(reading: Reading) -> str:
    """Return the page."""
    figures = Figures()
    made = reading.table.provenance
    sections = [_header(reading), _error(reading, figures), _costs(reading, figures)]
    return standalone_page(f"Latency table: {made.device_name}", sections, figures)


def _header(reading: Reading) -> str:
    made, certificate = reading.table.provenance, reading.table.certificate
    facts = {
        "Runtime": f"{made.runtime} {made.runtime_version}",
        "Precision": made.precision,
        "Threads": str(made.threads or "–"),
        "Image": "×".join(map(str, made.input_size)),
        "Working sizes": ", ".join(map(str, made.working_sizes)),
        "Entries": str(len(reading.costs)),
    }
    if certificate:
        facts["Mean error"] = f"{certificate.mape:.1f} %"
        facts["Spearman"] = f"{certificate.spearman:.3f}"
    items = "".join(
        f"<div><dt>{key}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    advice = "".join(f"<li>{escape(each.text)}</li>" for each in advise(reading))
    return (
        f'<p class="kicker">Latency table</p><h1>{escape(made.device_name)}</h1>'
        f'<p class="soft">{escape(reading.path.name)}, measured {escape(made.date[:10])}</p>'
        f"{card(f'<dl class=facts>{items}</dl>')}"
        + section("What it says", "", card(f"<ul>{advice}</ul>"))
    )


def _error(reading: Reading, figures: Figures) -> str:
    table, (cases, only_worst) = reading.table, drawn_cases(reading)
    if table.certificate is None:
        return section("Predicted and measured", "No network was measured against this table.", "")
    networks = table.certificate.architectures
    words = (
        f"This table keeps only the {len(cases)} worst of its {networks} networks; the others lie "
        "nearer to the diagonal."
        if only_worst
        else f"{networks} random networks that no fit has seen."
    )
    predictions = [table.predict(table.plan(case.architecture)) for case in cases]
    against = table_figures.predicted_against_measured(cases, predictions)
    distribution = table_figures.error_distribution(cases)
    plots = figures.place("Predicted against measured latency", against, "tall") + figures.place(
        "Error of the prediction", distribution, "tall"
    )
    return section(
        "Predicted and measured",
        f"{words} A vertical line is the predicted interval.",
        f'<div class="grid">{plots}</div>{_case_rows(cases)}',
    )


def _case_rows(cases: Sequence[Case]) -> str:
    rows = "".join(
        f'<tr><td class="text" data-value="{(name := escape(str(case.backbone)))}">{name}</td>'
        f"{_number(case.predicted_ms, 2)}{_number(case.measured_ms, 2)}"
        f"{_number(100 * case.signed_error, 1)}"
        f'<td class="text"><div class="genotype"><button data-copy="{escape(case.genotype)}">Copy'
        f"</button><code>{escape(case.genotype)}</code></div></td></tr>"
        for case in sorted(cases, key=lambda case: -case.error)
    )
    heads = "".join(
        f'<th class="{kind}"><button>{name}</button></th>'
        for name, kind in (
            ("Encoder", "text"),
            *((name, "") for name in ("Predicted (ms)", "Measured (ms)", "Error (%)")),
        )
    )
    return (
        f'<div class="card scroll"><table><thead><tr>{heads}<th class="text">Genotype</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _number(value: float, digits: int) -> str:
    return f'<td data-value="{value}">{value:.{digits}f}</td>'


def _costs(reading: Reading, figures: Figures) -> str:
    operations = [reading.grid[name] for name in OPERATIONS if name in reading.grid]
    plots = "".join(
        figures.place(
            f"At {size}",
            table_figures.cost_bars([cells[size] for cells in operations if size in cells]),
        )
        for size in resolutions(operations)
    )
    return section(
        "What operations cost",
        "Corrected as in a prediction; a thin line is the spread of the measurement between its "
        "quartiles. Each resolution has a scale of its own.",
        f'<div class="grid">{plots}</div>',
    )
