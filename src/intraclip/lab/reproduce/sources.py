"""The data sets that runs are trained and tested on: found, read and checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intraclip.config import Recipe
from intraclip.data.dataset import labels_of
from intraclip.data.layouts import LAYOUTS
from intraclip.data.readers import find_dataset, num_splits, read_split
from intraclip.errors import DataError
from intraclip.lab.reproduce.experiments import Experiment
from intraclip.lab.reproduce.scales import Scale
from intraclip.lab.splits import raise_problems, read_training, untestable
from intraclip.lab.view import check_rendered
from intraclip.studio import BenchmarkConfig
from intraclip.studio.layouts import SPLITS, plan_tracklets
from intraclip.types import Split


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that runs are trained or tested on.

    Attributes:
        layout: its layout, which is also its name here.
        splits: the splits; empty as long as a rendered data set is not there yet.
        benchmark: what to render where the folder is not there yet.
    """

    layout: str
    root: Path
    numbers: tuple[int, ...]
    splits: tuple[Split, ...] = ()
    benchmark: BenchmarkConfig | None = None

    def split(self, number: int) -> Split | None:
        """The split of that number; None while nothing is rendered."""
        return next((split for split in self.splits if split.index == number), None)

    @property
    def identities(self) -> int:
        """Training identities of a split."""
        if self.splits:
            return len(labels_of(self.splits[0].train))
        assert self.benchmark is not None
        return self.benchmark.identities // 2

    @property
    def test_frames(self) -> int:
        """Frames of the test tracklets of a split; a guess while nothing is rendered."""
        if self.splits:
            return sum(len(t) for t in self.splits[0].test)
        return self.all_frames // 2

    @property
    def all_frames(self) -> int:
        """Frames that rendering makes."""
        assert self.benchmark is not None
        return sum(plan.frames for plan in plan_tracklets(self.benchmark))


def layouts_for(experiment: Experiment, chosen: Sequence[Experiment], *, given: bool) -> tuple[str, ...]:
    """Layouts of the data sets that an experiment may use, made together with the `chosen` ones.

    A table takes any data set that is given, also one that the paper did not use. What another experiment of a group
    names for its own is left to that one: in `all`, PRID-2011 tests the models of Table 4, and is not trained on. Where
    no data folders are given, people are rendered, and those in one layout do for the tables over two.
    """
    if not given:
        return experiment.layouts if experiment.kind == "cross" else experiment.layouts[:1]
    if experiment.kind != "table":
        return experiment.layouts
    taken = {layout for other in chosen if other.kind != "table" for layout in other.layouts}
    others = (layout for layout in LAYOUTS if layout != "pack" and layout not in taken)
    return tuple(dict.fromkeys((*experiment.layouts, *others)))


def choose_sources(
    layouts: Sequence[str],
    scale: Scale,
    out: Path,
    *,
    data: Sequence[Path],
    splits: Sequence[int] | None,
    recipe: Recipe,
    protocol: str | None,
) -> dict[str, Source]:
    """Find, read and check the data sets of experiments; nothing is rendered here.

    Raises:
        DataError: everything that is wrong with the data sets, at once; two of one layout, or one that no experiment
            uses.
    """
    given: dict[str, Path] = {}
    problems: list[str] = []
    for folder in data:
        try:
            layout, root = find_dataset(folder)
        except DataError as error:
            problems.append(str(error))
            continue
        if layout == "pack":
            layout = read_split(root).dataset.removeprefix("benchmark-")
        if layout in given:
            problems.append(f"{folder} and {given[layout]} are both {layout}; give one of them")
        if layout not in layouts:
            problems.append(f"{folder} is {layout}, which is not used here; used are {', '.join(layouts)}")
        given[layout] = root
    raise_problems(problems)
    sources: dict[str, Source] = {}
    for layout in layouts:
        if layout in given:
            root = given[layout]
        elif data:
            continue
        else:
            benchmark = scale.benchmarks[layout]
            root = out / "data" / layout
            if not (root / "benchmark.json").is_file():
                numbers = _numbers(splits, scale, SPLITS if layout != "mars" else 1, root, problems)
                sources[layout] = Source(layout=layout, root=root, numbers=numbers, benchmark=benchmark)
                continue
            check_rendered(root, benchmark)
        sources[layout] = _read(layout, root, scale, splits, recipe, protocol, problems)
    raise_problems(problems)
    return sources


def _read(
    layout: str,
    root: Path,
    scale: Scale,
    splits: Sequence[int] | None,
    recipe: Recipe,
    protocol: str | None,
    problems: list[str],
) -> Source:
    try:
        count = num_splits(root)
    except DataError as error:
        problems.append(str(error))
        return Source(layout=layout, root=root, numbers=())
    numbers = _numbers(splits, scale, count, root, problems)
    found = read_training(root, numbers, layout="auto", recipe=recipe, problems=problems)
    problems += [problem for split in found for problem in untestable(split, protocol)]
    return Source(layout=layout, root=root, numbers=numbers, splits=tuple(found))


def _numbers(
    splits: Sequence[int] | None, scale: Scale, count: int, root: Path, problems: list[str]
) -> tuple[int, ...]:
    if splits is None:
        return tuple(range(min(count, scale.splits or count)))
    if count == 1 or not splits:  # named splits are about the data sets that have several
        return tuple(range(count))
    wrong = [number for number in splits if number >= count]
    if wrong:
        problems.append(f"{root} has splits 0 to {count - 1}, not {', '.join(map(str, wrong))}")
    return tuple(splits)
