"""README and docs: short enough to be read, and every command, flag and link in them exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from intraclip.cli.completion import tree
from intraclip.cli.flags import flags_of, named
from intraclip.cli.main import COMMANDS
from intraclip.cli.recipe_flags import flags_of_parts
from intraclip.cli.settings_file import COMMANDS as WITH_FILE
from intraclip.cli.spellings import ALIASES
from intraclip.models.zoo import find

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
COMING = {"docs/library.md"}
"""Named already, and not written yet."""


def lines_of_code(text: str) -> Iterator[str]:
    """Lines of code blocks, continued ones joined, and what stands in backticks."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def commands(text: str) -> Iterator[list[str]]:
    """Words after ``intraclip``, without comments and what comes after a pipe."""
    for line in lines_of_code(text):
        found = re.match(r"(?:\$ |.*-m )?intraclip ([a-z].*)", line)
        if found:
            yield re.split(r"\s#|\||>", found[1])[0].split()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_exists(page: Path):
    wrong = []
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0] == "COMMAND":
            continue
        if words[0] not in COMMANDS:
            wrong.append(" ".join(words))
            continue
        command = " ".join(words[:2]) if " ".join(words[:2]) in tree() else words[0]
        if command not in tree():  # `intraclip gallery` and what all of its commands share
            continue
        flags = flags_of(tree()[command])
        known = {"--help", "--help-all", "--model", *ALIASES.get(command, ())}
        known |= {"--config"} if command in WITH_FILE else set()
        if command in ("train", "cross"):
            flags = (*flags, *(flag for _, flag in flags_of_parts()))
        for word in words[1:]:
            flag = word.partition("=")[0].rstrip(".,;:)]").lstrip("[")
            if flag.startswith("--") and flag not in known and named(flags, flag) is None:
                wrong.append(f"{command} {flag}")
        if command == "models get":
            names = [
                word for word in words[2:] if re.fullmatch(r"[\w.-]+", word) and not word.startswith("--")
            ]
            wrong += [f"{command} {name}" for name in names if name != name.upper() and find(name) is None]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = {
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (page.parent / target).exists()
    }
    assert missing <= COMING


def test_doors_have_at_most_five_lines_each():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for door in ("I have videos", "I have a data set", "I write Python"):
        section = text.split(f"## {door}\n")[1].split("\n## ")[0]
        block = re.findall(r"^```\w*\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        assert len(block) == 1
        assert 1 <= len([line for line in block[0].splitlines() if line]) <= 5
