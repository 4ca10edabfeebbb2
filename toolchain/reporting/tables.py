"""The tables of a report: the best genotypes and the settings of the runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from toolchain.reporting.logs import UNKNOWN_ENCODER
from toolchain.reporting.markup import genotype_line, section, swatch
from toolchain.reporting.series import Series, all_costs
from toolchain.search.shown_costs import Cost
from toolchain.search.trial import Trial, TrialState
from toolchain.settings.search_settings import without_password

BEST = 20
WORKING_SIZE = "Working size (pixels)"


def best_genotypes(series: Sequence[Series], costs: Sequence[Cost]) -> str:
    """Make the sortable table of the highest scores of each run and its front of these costs."""
    shown = all_costs(series)
    chosen: list[tuple[Series, Trial, bool]] = []
    for one in series:
        front = {trial.id for trial in one.front(costs)}
        again = {trial.id: trial for trial in one.run.finalists}
        everything = [
            again.get(trial.id, trial) for trial in one.scored if trial.state is TrialState.COMPLETE
        ]
        ranked = sorted(everything, key=lambda trial: -(trial.score or 0))
        chosen += [
            (one, trial, trial.id in front)
            for place, trial in enumerate(ranked)
            if place < BEST or trial.id in front
        ]
    if not chosen:
        return ""
    chosen.sort(key=lambda row: -(row[1].score or 0))
    rows = [_cells(*row, shown) for row in chosen]
    # The run's name is of use beside another, the encoder where it is known, the working size where
    # one of several was chosen.
    columns = [
        name
        for name in rows[0]
        if (name != "Run" or len(series) > 1)
        and (name != "Of the search" or any(t.search_score is not None for _, t, _ in chosen))
        and (name != WORKING_SIZE or any(len(one.working_sizes) > 1 for one in series))
        and (name != "Encoder" or any(trial.encoder != UNKNOWN_ENCODER for _, trial, _ in chosen))
    ]
    heads = "".join(map(_heading, columns))
    body = "".join(
        f"<tr>{''.join(cells[name] for name in columns)}"
        f'<td class="text">{genotype_line(trial)}</td></tr>'
        for cells, (_, trial, _) in zip(rows, chosen, strict=True)
    )
    return section(
        "Best genotypes",
        f"The {BEST} highest scores of each run and its whole front. Click a heading to sort. "
        "Where a trial was scored again after a longer training, that score counts.",
        '<div class="card scroll"><table id="genotypes">'
        f'<thead><tr>{heads}<th class="text">Genotype</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>",
    )


def settings_table(series: Sequence[Series]) -> str:
    """Make the table of all settings, a column for each run; those that differ are bold."""
    flat = [dict(_flat(one.run.document)) for one in series]
    rows = []
    for key in dict.fromkeys(key for one in flat for key in one):
        values = [one.get(key, "") for one in flat]
        kind = "text differs" if len(set(values)) > 1 else "text"
        cells = "".join(f'<td class="{kind}"><code>{escape(value)}</code></td>' for value in values)
        rows.append(f'<tr><td class="text">{escape(key)}</td>{cells}</tr>')
    heads = "".join(f'<th class="text">{swatch(one)}{escape(one.name)}</th>' for one in series)
    return section(
        "Settings",
        "",
        '<details class="card"><summary>All settings</summary><div class="scroll"><table>'
        f'<thead><tr><th class="text">Setting</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>",
    )


def _cells(one: Series, trial: Trial, on_front: bool, costs: Sequence[Cost]) -> dict[str, str]:
    name = escape(one.name)
    return {
        "Run": f'<td class="text" data-value="{name}">{swatch(one)}'
        f'<span class="name" title="{name}">{name}</span></td>',
        "Encoder": f'<td class="text" data-value="{trial.encoder}">{trial.encoder}</td>',
        WORKING_SIZE: _number(trial.working_size, 0),
        "Trial": _number(trial.id, 0),
        "Score": _number(trial.score, 3),
        "Of the search": _number(trial.search_score, 3),
        "Reward": _number(trial.reward, 3),
        **{cost.column: _number(cost.of(trial), cost.digits) for cost in costs},
        "Front": f'<td data-value="{int(on_front)}">{"●" if on_front else ""}</td>',
    }


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return '<td data-value="">–</td>'
    return f'<td data-value="{value}">{value:.{digits}f}</td>'


def _heading(name: str) -> str:
    kind = "text" if name in ("Run", "Encoder") else ""
    sort = ' aria-sort="descending"' if name == "Score" else ""
    return f'<th class="{kind}"{sort}><button>{escape(name)}</button></th>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{key}", without_password(text) if key == "storage" else text
