"""Splits that can really be trained or tested on: whatever is wrong with a data folder is said before any work starts.

Each function appends what it finds to a list, so that everything wrong with several data sets is said at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intraclip.config import Direction, Recipe
from intraclip.data.check import queries_without_match
from intraclip.data.readers import num_splits, read_split
from intraclip.data.readers.common import benchmark_info, check_split_number, shorten
from intraclip.data.sampler import PKSampler
from intraclip.errors import ConfigError, DataError
from intraclip.metrics.protocols import protocol_named
from intraclip.types import Split


def parse_splits(text: str) -> tuple[int, ...] | None:
    """Numbers of splits as a flag gives them: ``all`` (None) or numbers with commas between.

    Raises:
        ConfigError: anything else, or a number twice.

    >>> parse_splits("0,2")
    (0, 2)
    """
    if text == "all":
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(
            f"splits {text!r}: give `all`, or numbers from 0 with commas between, such as 0,1,2"
        )
    numbers = tuple(map(int, parts))
    if len(set(numbers)) != len(numbers):
        raise ConfigError(f"splits {text!r}: a number stands there twice")
    return numbers


def read_training(
    root: Path, splits: Sequence[int] | None, *, layout: str, recipe: Recipe, problems: list[str]
) -> list[Split]:
    """The splits that can be read; checks that batches can be drawn from their training tracklets."""
    found = _read("training", root, splits, layout, problems, recipe.data.direction)
    for split in found:
        try:
            PKSampler(
                split.train, identities=recipe.batch.identities, clips=recipe.batch.clips, seed=recipe.seed
            )
        except DataError as error:
            problems.append(f"training data {root}, split {split.index}: {error}")
    return found


def read_testing(
    root: Path,
    splits: Sequence[int] | None,
    *,
    layout: str,
    protocol: str | None,
    problems: list[str],
) -> list[Split]:
    """Read splits, and check that somebody can be found in them; returns those that can be read."""
    if protocol is not None:
        protocol_named(protocol)
    found = _read("test", root, splits, layout, problems)
    problems += [problem for split in found for problem in untestable(split, protocol)]
    return found


def untestable(split: Split, protocol: str | None = None) -> list[str]:
    """Why no query of a split can be answered under a protocol; empty when some can."""
    chosen = protocol_named(protocol or split.protocol)
    lost = queries_without_match(split, queries_in_gallery=chosen.queries_in_gallery)
    if len(lost) < len(split.query):
        return []
    return [
        f"test data {split.root}, split {split.index}: none of the {len(split.query)} queries has a right answer in "
        f"another camera under protocol {chosen.name}"
    ]


def same_people(train_root: Path, test_root: Path) -> bool:
    """Whether two rendered data sets show the same people: people depend on the seed."""
    infos = (benchmark_info(train_root), benchmark_info(test_root))
    seeds = [info["config"].get("seed") for info in infos if info and isinstance(info.get("config"), dict)]
    return len(seeds) == 2 and seeds[0] == seeds[1]


def raise_problems(problems: Sequence[str]) -> None:
    """Say everything that was found."""
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise DataError(f"the data cannot be used as asked; nothing was trained:\n{lines}")


def _read(
    what: str,
    root: Path,
    numbers: Sequence[int] | None,
    layout: str,
    problems: list[str],
    direction: Direction = "first-half-tests",
) -> list[Split]:
    try:
        count = num_splits(root, layout)
    except DataError as error:
        problems.append(f"{what} data: {error}")
        return []
    found: list[Split] = []
    said: dict[str, list[int]] = {}
    for number in range(count) if numbers is None else numbers:
        try:
            check_split_number(number, count, root)
            found.append(read_split(root, layout=layout, split=number, direction=direction))
        except DataError as error:
            said.setdefault(str(error), []).append(number)
    # What is wrong with the folder is wrong with every split: said once.
    problems += [f"{what} data, split {shorten(which)}: {message}" for message, which in said.items()]
    return found
