"""What the documentation tells people to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "tests/data/README.md", *(ROOT / "docs").rglob("*.md")])
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*")
_SHELL = {"|", ">", ">>", "&&", "||", ";", "2>"}


def blocks(text, language):
    """Return the fenced blocks of a language in a page's text."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """Return the nastool commands in the shell blocks of a page's text, as lists of arguments."""
    found = []
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == "nastool":
                end = next((i for i, word in enumerate(words) if word in _SHELL), len(words))
                found.append(words[1:end])
    return found


def is_placeholder(value):
    """Say whether a value is a word in capitals, for people to replace."""
    return isinstance(value, str) and PLACEHOLDER.fullmatch(value) is not None
