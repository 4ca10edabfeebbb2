"""An HTML file that needs nothing else, with interactive figures: no network, no other file."""

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from toolchain.reporting.markup import card


class Figures:
    """The figures of a page, gathered while its sections are written."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}

    def place(self, title: str, figure: Any, size: str = "") -> str:
        """Keep a plotly figure and return the card where the page will draw it."""
        name = f"figure-{len(self.documents)}"
        self.documents[name] = json.loads(figure.to_json())
        return card(f'<h3>{escape(title)}</h3><div class="plot {size}" id="{name}"></div>')


def standalone_page(title: str, sections: Iterable[str], figures: Figures) -> str:
    """Return a whole page, about 5 MB because plotly.js is in it; ``sections`` are HTML."""
    # A name with "</script>" or "<!--" in it must not end the element.
    document = json.dumps(figures.documents).replace("<", "\\u003c")
    source = files("toolchain.reporting")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{source.joinpath('page.css').read_text('utf-8')}</style>"
        f"<script>{get_plotlyjs()}</script></head>"
        f'<body><main>{"".join(sections)}</main><div id="toast" role="status"></div>'
        f'<script type="application/json" id="figures">{document}</script>'
        f"<script>{source.joinpath('page.js').read_text('utf-8')}</script></body></html>\n"
    )
