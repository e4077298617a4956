"""Which runs an experiment needs, where they lie, and which of them are there already.

A run is known by its data set, by what its recipe changes, by its split and its seed, and lies in a folder of that
name, so that experiments share runs::

    OUT/runs/mars/resnet18-ica-synchronous/split-0-seed-3/
    OUT/runs/mars/resnet18-ica-synchronous+ica_reduction=8/split-0-seed-3/
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from intraclip.config import Recipe
from intraclip.config_io import differing_keys, load_recipe, recipe_from_table
from intraclip.data.benchmark import BenchmarkConfig
from intraclip.data.benchmark.layouts import SPLITS, plan_tracklets
from intraclip.data.dataset import labels_of
from intraclip.data.readers import find_dataset, num_splits
from intraclip.engine.cross import same_people
from intraclip.engine.run import file_digest, tracklets_digest
from intraclip.engine.splits import raise_problems, read_testing, read_training
from intraclip.engine.train import CANNOT_CHANGE_THE_RESULT
from intraclip.errors import CheckpointError, ConfigError, DataError, OutputError
from intraclip.models.checkpoint import read_checkpoint
from intraclip.reproduce.experiments import Experiment, Row
from intraclip.reproduce.scales import Scale
from intraclip.types import Split

State = Literal["missing", "interrupted", "trained", "done"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that runs are trained or tested on.

    Attributes:
        layout: its layout, which is also its name here.
        root: its folder.
        numbers: numbers of the splits that are used.
        splits: the splits; empty as long as a rendered data set is not there yet.
        benchmark: what to render where the folder is not there yet.
    """

    layout: str
    root: Path
    numbers: tuple[int, ...]
    splits: tuple[Split, ...] = ()
    benchmark: BenchmarkConfig | None = None

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


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training.

    Attributes:
        source: what it is trained on.
        split: number of the split.
        recipe: all settings.
        changes: keys that differ from the scale's recipe, as flags of `intraclip train` set them.
        base: name or file of the scale's recipe.
        folder: its run folder.
        state: how far it is.
    """

    source: Source
    split: int
    recipe: Recipe
    changes: Mapping[str, Any]
    base: str
    folder: Path
    state: State

    @property
    def name(self) -> str:
        """Data set, variant, split and seed."""
        return "/".join(self.folder.parts[-3:])

    @property
    def steps(self) -> int:
        """Batches in all."""
        return self.source.identities // self.recipe.batch.identities * self.recipe.optimizer.epochs

    @property
    def frames(self) -> int:
        """Frames in a batch."""
        return self.recipe.batch.identities * self.recipe.batch.clips * self.recipe.clip.num_frames

    def train_arguments(self) -> list[str]:
        """What `intraclip` is called with to train it, or to go on with it."""
        where = ["--data", str(self.source.root), "--out", str(self.folder)]
        if self.state == "interrupted" and (self.folder / "config.toml").is_file():
            return ["train", "--recipe", str(self.folder / "config.toml"), *where, "--resume"]
        flags: list[str] = ["--resume"] if self.state == "interrupted" else []
        for key, value in self.changes.items():
            texts = map(str, value) if isinstance(value, tuple | list) else [str(value)]
            flags += [f"--{key.replace('_', '-')}", *texts]
        return ["train", "--recipe", self.base, *where, *flags]

    def evaluate_arguments(self) -> list[str]:
        """What `intraclip` is called with to score it."""
        return ["evaluate", str(self.folder), "--data", str(self.source.root)]


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """The runs of one experiment.

    Attributes:
        experiment: what is asked.
        sources: the data sets; for `cross` the second one is only tested on.
        runs: data set -> row -> its runs, over splits and seeds. Rows that cannot be trained are absent.
    """

    experiment: Experiment
    sources: tuple[Source, ...]
    runs: Mapping[str, Mapping[str, tuple[PlannedRun, ...]]]

    @property
    def all_runs(self) -> list[PlannedRun]:
        """Every run, by seed and split first, so that all rows have their first run before any has its second."""
        flat = [run for rows in self.runs.values() for runs in rows.values() for run in runs]
        return sorted(flat, key=lambda run: (run.recipe.seed, run.split))


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

    Args:
        layouts: those the experiments can use, each once.
        scale: says what is rendered where no folder is given.
        out: rendered data go to ``out/data``.
        data: folders with data sets, any of the layouts; when empty, rendered data take their place.
        splits: numbers of splits; None for the scale's, empty for all.
        recipe: the scale's.
        protocol: that the runs will be scored under; None for the usual one of each data set.

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
            layout = read_layout_of_pack(root)
        if layout in given:
            problems.append(f"{folder} and {given[layout]} are both {layout}; give one of them")
        if layout not in layouts:
            problems.append(f"{folder} is {layout}, which is not used here; used are {', '.join(layouts)}")
        given[layout] = root
    raise_problems(problems)
    sources: dict[str, Source] = {}
    for layout in layouts:
        if data and layout not in given:
            continue
        if layout in given:
            root, benchmark = given[layout], None
        else:
            benchmark = scale.benchmarks[layout]
            root = out / "data" / layout
            if not (root / "benchmark.json").is_file():
                numbers = _numbers(splits, scale, SPLITS if layout != "mars" else 1, root, problems)
                sources[layout] = Source(layout=layout, root=root, numbers=numbers, benchmark=benchmark)
                continue
            _check_rendered(root, benchmark)
        sources[layout] = _read(layout, root, scale, splits, recipe, protocol, problems)
    raise_problems(problems)
    return sources


def read_layout_of_pack(root: Path) -> str:
    """Layout of the data set that was packed."""
    from intraclip.data.readers import read_split

    return read_split(root).dataset.removeprefix("benchmark-")


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
    if not problems:
        read_testing(
            root,
            numbers,
            layout="auto",
            protocol=protocol,
            problems=problems,
            direction=recipe.data.direction,
        )
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


def _check_rendered(root: Path, config: BenchmarkConfig) -> None:
    """Refuse data in OUT that another scale or seed rendered."""
    try:
        found = json.loads((root / "benchmark.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / 'benchmark.json'} cannot be read: {error}; delete {root}") from None
    wanted = json.loads(json.dumps(asdict(config)))
    different = [
        f"{key}: {found.get(key)} -> {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
    ]
    if different:
        raise OutputError(
            f"{root} was rendered with other settings ({'; '.join(different)}); choose another --out for another scale"
        )


def make_plan(
    experiment: Experiment,
    scale: Scale,
    out: Path,
    sources: Mapping[str, Source],
    *,
    layouts: Sequence[str],
    seeds: Sequence[int],
    base: str,
) -> ExperimentPlan:
    """List the runs of an experiment and look how far each of them is.

    Args:
        experiment: what is asked.
        scale: says what its rows change as well.
        out: runs lie in ``out/runs``.
        sources: from `choose_sources`; other experiments may need more of them.
        layouts: those of the experiment that are wanted.
        seeds: training seeds.
        base: name or file of the recipe that rows change.

    Raises:
        DataError: a data set that the experiment needs was not given; or runs in `out` were trained on other people.
        ConfigError: runs in `out` were made with another recipe, or a row's recipe has wrong values.
    """
    used = [layout for layout in layouts if layout in sources]
    missing = lacking(experiment, layouts, sources)
    if missing:
        every = " and " if experiment.kind == "cross" else " or "
        raise DataError(
            f"{experiment.name} needs {every.join(layouts)} data, and --data names no "
            f"{every.join(missing)}; add the folder, or leave out --data to render people"
        )
    trained_on = used[:1] if experiment.kind == "cross" else used
    if experiment.kind == "cross" and same_people(sources[used[0]].root, sources[used[1]].root):
        raise DataError(
            f"{sources[used[0]].root} and {sources[used[1]].root} were rendered with the same seed: people who are "
            "trained on would be tested on; render one of them with another --seed"
        )
    recipe = load_recipe(base)
    runs: dict[str, dict[str, tuple[PlannedRun, ...]]] = {}
    for layout in trained_on:
        runs[layout] = {}
        for row in experiment.rows:
            if row.changes is None:
                continue
            changed = row_recipe(recipe, row, scale.changes.get(experiment.name, {}))
            runs[layout][row.key] = tuple(
                _planned(out, sources[layout], changed, recipe, base, split=split, seed=seed)
                for seed in seeds
                for split in sources[layout].numbers
            )
    return ExperimentPlan(experiment=experiment, sources=tuple(sources[name] for name in used), runs=runs)


def lacking(experiment: Experiment, layouts: Sequence[str], sources: Mapping[str, Source]) -> list[str]:
    """Data sets without which an experiment cannot be made; empty when it can."""
    missing = [layout for layout in layouts if layout not in sources]
    return missing if experiment.kind == "cross" or len(missing) == len(layouts) else []


def row_recipe(base: Recipe, row: Row, also: Mapping[str, Any]) -> Recipe:
    """The recipe of a row.

    Args:
        base: the scale's.
        row: says what it changes.
        also: what the scale changes for the whole experiment.

    Raises:
        ConfigError: an unknown key or a wrong value.

    >>> row = Row(key="a", label="a", changes={"model.head": "tap"}, times=2)
    >>> changed = row_recipe(Recipe(), row, {"input.width": 64})
    >>> changed.model.head, changed.input.width, changed.optimizer.epochs, changed.optimizer.decay_every
    ('tap', 64, 1000, 400)
    """
    table = asdict(base)
    for key, value in {**also, **(row.changes or {})}.items():
        _set(table, key, value)
    for name in ("epochs", "decay_every", "warmup_epochs"):
        table["optimizer"][name] *= row.times
    return recipe_from_table(table, source=f"the row {row.label!r}")


def _set(table: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        table = table[section]
    table[name] = value


def _get(table: Mapping[str, Any], key: str) -> Any:
    value: Any = table
    for part in key.split("."):
        value = value[part]
    return value


def _planned(
    out: Path, source: Source, recipe: Recipe, base_recipe: Recipe, base: str, *, split: int, seed: int
) -> PlannedRun:
    changed = [line.partition(":")[0] for line in differing_keys(base_recipe, recipe)]
    recipe = replace(recipe, seed=seed, data=replace(recipe.data, split=split))
    table = asdict(recipe)
    in_name = ("model.backbone", "model.head", "augment.mode")
    others = [
        f"+{key.rpartition('.')[2]}={_get(table, key):g}"
        if isinstance(_get(table, key), float)
        else f"+{key.rpartition('.')[2]}={_get(table, key)}"
        for key in changed
        if key not in in_name
    ]
    variant = "-".join(str(_get(table, key)) for key in in_name) + "".join(others)
    folder = out / "runs" / source.layout / variant / f"split-{split}-seed-{seed}"
    changes = {key: _get(table, key) for key in (*in_name, *(k for k in changed if k not in in_name))}
    return PlannedRun(
        source=source,
        split=split,
        recipe=recipe,
        changes={**changes, "data.split": split, "seed": seed},
        base=base,
        folder=folder,
        state=_state(folder, recipe, source),
    )


def _state(folder: Path, recipe: Recipe, source: Source) -> State:
    """How far a run is.

    Raises:
        ConfigError: it was made with another recipe.
        DataError: it was trained on other data.
        OutputError: the folder is something else.
    """
    config = folder / "config.toml"
    if not config.is_file():
        found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if set(found) - {"config.toml.partial"}:  # that one is of a run that died in its first moment
            raise OutputError(f"{folder} is not empty and is no run folder; choose another --out")
        return "interrupted" if found else "missing"
    different = [
        line
        for line in differing_keys(load_recipe(str(config)), recipe)
        if not line.startswith((*CANNOT_CHANGE_THE_RESULT, "device:", "data.layout:"))
    ]
    if different:
        raise ConfigError(
            f"{folder} was made with another recipe; choose another --out, or delete that folder. Different:\n"
            + "\n".join(f"  {line}" for line in different)
        )
    split = next((s for s in source.splits if s.index == recipe.data.split), None)
    if split is not None:
        _check_trained_on(folder, split)
    if not (folder / "model.safetensors").is_file():
        return "interrupted"
    return "done" if _is_scored(folder, recipe, split) else "trained"


def _check_trained_on(folder: Path, split: Split) -> None:
    """Refuse a run of other data.

    Raises:
        DataError: it was trained on other tracklets.
        CheckpointError: its model is damaged.
    """
    model = folder / "model.safetensors"
    same = True
    if model.is_file():
        try:
            same = read_checkpoint(model).pids == tuple(labels_of(split.train))
        except CheckpointError as error:
            raise CheckpointError(f"{error}; delete {folder} to train it again") from None
    told = read_json(folder / "environment.json").get("data", {}).get("training_digest")
    # Runs of earlier versions do not tell; their people were compared.
    if not same or told not in (None, tracklets_digest(split, split.train)):
        raise DataError(
            f"{folder} was trained on other data than {split.root}; choose another --out for other data, or delete "
            "that folder"
        )


def _is_scored(folder: Path, recipe: Recipe, split: Split | None) -> bool:
    """Whether the embeddings in a run folder are those of its present model, on the present test tracklets."""
    found = read_json(folder / "evaluation.json")
    if split is None or not found or not (folder / "embeddings.npz").is_file():
        return False
    told = [found.get(part, {}) for part in ("model", "data", "sampling")]
    return [told[0].get("sha256"), told[1].get("test_digest"), told[2].get("test_sampling")] == [
        file_digest(folder / "model.safetensors"),
        tracklets_digest(split, split.test),
        recipe.clip.test_sampling,
    ]


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file; empty when the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def command_lines(run: PlannedRun) -> list[str]:
    """The commands that make a run, as a person would type them."""
    commands = [run.train_arguments()] if run.state in ("missing", "interrupted") else []
    if run.state != "done":
        commands.append(run.evaluate_arguments())
    return [shlex.join(["intraclip", *arguments]) for arguments in commands]
