"""Pieces of HTML that the sections of a page share."""

from html import escape

from toolchain.reporting.series import Series
from toolchain.search.trial import Trial


def section(title: str, explanation: str, content: str, mark: str = "") -> str:
    """Make a section; ``mark`` and ``content`` are HTML, the others text."""
    text = f'<p class="soft">{escape(explanation)}</p>' if explanation else ""
    heading = f'<h2>{mark}<span class="name">{escape(title)}</span></h2>'
    return f"<section>{heading}{text}{content}</section>"


def card(content: str, kind: str = "") -> str:
    """Put HTML on a card."""
    return f'<div class="card {kind}">{content}</div>'


def swatch(series: Series) -> str:
    """Show the colour of a run."""
    return f'<span class="swatch" style="--colour: {series.colour}"></span>'


def genotype_line(trial: Trial) -> str:
    """Show a genotype's text with a button that copies it."""
    text = escape(trial.genotype)
    return (
        f'<div class="genotype"><button data-copy="{text}">Copy</button><code>{text}</code></div>'
    )
