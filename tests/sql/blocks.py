"""The code blocks of a page in Markdown, in order, so that a test can do what the page says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w/.]+\.(?:sql|yml))`")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, and the last file that the text before it names."""

    language: str
    text: str
    file: str | None

    @property
    def commands(self) -> list[str]:
        """What is typed at the prompts of a console block."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    level = re.escape(heading.partition(" ")[0])
    found = re.search(
        rf"^{re.escape(heading)}.*?\n(.*?)(?=^{level} |\Z)",
        page.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"{page.name} has no heading {heading!r}"
    return found[1]


def blocks(text: str) -> list[Block]:
    """All code blocks of a text."""
    found, end = [], 0
    for match in BLOCK.finditer(text):
        named = FILE.findall(text[end : match.start()])
        found.append(Block(match[1], match[2], named[-1] if named else None))
        end = match.end()
    return found
