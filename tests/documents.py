"""Markdown pages taken apart: fenced blocks, commands, links, headings."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the number of its first line."""

    language: str
    text: str
    line: int

    def compiled(self, path):
        """Its Python, with the page's own line numbers in tracebacks."""
        return compile("\n" * (self.line - 1) + self.text, path, "exec")

    def commands(self):
        """Its lines of shell: without comments, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def blocks(path):
    """All fenced blocks of a page in order."""
    text = path.read_text()
    indented = re.search(r"^ +```.*$", text, re.MULTILINE)
    assert not indented, f"{path.name}: an indented fence would not be tested"
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
        for found in FENCE.finditer(text)
    ]


def indented_commands(path):
    """Commands that stand in a page by themselves, indented by four spaces."""
    prose = FENCE.sub("", path.read_text())
    return re.findall(r"^    ((?:python|fastbcd|pip) .*)$", prose, re.MULTILINE)


def prose(path):
    """A page without its code, fenced or not."""
    text = FENCE.sub("", path.read_text())
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def links(path):
    """Targets of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(path)))


def anchors(path):
    """Headings of a page as GitHub spells them in links ``#...``."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}
