"""Which runs an experiment needs, where they lie, and which of them are there already.

A run is known by its data set, by what its recipe changes, by its split and its seed, and lies in a folder of that
name, so that experiments share runs::

    OUT/runs/mars/resnet18-ica-synchronous/split-0-seed-3/
    OUT/runs/mars/resnet18-ica-synchronous+ica_reduction=8/split-0-seed-3/

Of a finished run, the files `KEPT` are enough for every table: a folder that holds them without its network counts as
done, so that runs can be kept in a repository and the rest be made elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from intraclip.config import Recipe
from intraclip.config_io import recipe_from_table
from intraclip.core.files import file_digest, is_half_written
from intraclip.core.setting_tables import flat, merged, nested
from intraclip.core.settings import table_of
from intraclip.data.dataset import labels_of
from intraclip.data.readers.common import benchmark_info, tracklets_digest
from intraclip.errors import CheckpointError, ConfigError, DataError, IntraclipError, OutputError
from intraclip.lab.reproduce.experiments import Experiment, Row
from intraclip.lab.reproduce.scales import Scale
from intraclip.lab.reproduce.sources import Source
from intraclip.lab.splits import same_people
from intraclip.models.checkpoint import read_checkpoint
from intraclip.recipe_files import load_recipe
from intraclip.train.comparing import differing_in_effect, differing_keys
from intraclip.train.run_folder import METRICS
from intraclip.types import Split, Tracklet

State = Literal["missing", "interrupted", "trained", "done"]

SCORES_FILE = "scores.json"
"""In a run folder: its outcome by query, written with the first table that it stands in."""

KEPT = ("config.toml", "environment.json", "metrics.jsonl", "evaluation.json", SCORES_FILE)
"""Files of a run folder without which its network and its embeddings are not needed for a table."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One training.

    Attributes:
        changes: keys that differ from the scale's recipe, as flags of `intraclip train` set them.
        base: name or file of the scale's recipe.
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

    @property
    def epochs_done(self) -> int:
        """Lines of its log; the last one may be half written."""
        try:
            with (self.folder / METRICS).open("rb") as file:
                return sum(1 for _ in file)
        except OSError:
            return 0

    @property
    def recipe_file(self) -> Path:
        """Where its whole recipe is written, beside the folder, before any run starts."""
        return self.folder.with_name(self.folder.name + ".toml")

    @property
    def log(self) -> Path:
        """Where its commands write."""
        return self.folder.with_name(self.folder.name + ".log")

    def train_arguments(self, *, from_file: bool = False) -> list[str]:
        """What `intraclip` is called with to train it, or to go on with it.

        `from_file` reads everything from `recipe_file`, so that nothing that happens to the scale's recipe or to a
        default between the plan and the start of this run can change it. Otherwise these are the scale's recipe and the
        keys that differ, which is the same now and can be read.
        """
        where = ["--data", str(self.source.root), "--out", str(self.folder)]
        if self.state == "interrupted" and (self.folder / "config.toml").is_file():
            return ["train", "--recipe", str(self.folder / "config.toml"), *where, "--resume"]
        flags: list[str] = ["--resume"] if self.state == "interrupted" else []
        if from_file:
            return ["train", "--recipe", str(self.recipe_file), *where, *flags]
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

    @property
    def cautions(self) -> list[str]:
        """A sentence for every data set on which claims would rest on one training of each row."""
        found = []
        for layout, rows in self.runs.items():
            claims = [c for c in self.experiment.claims if c.better in rows and c.worse in rows]
            single = [c for c in claims if len(rows[c.better]) == 1]
            if single:
                count = "its claim" if len(single) == 1 else f"any of its {len(single)} claims"
                found.append(
                    f"{self.experiment.name} on {layout}: every row is trained once, and one training cannot decide "
                    f"{count}, whatever the difference; give more --seeds"
                )
        return found

    def finished(self) -> ExperimentPlan:
        """The same with the runs that are done alone, and the claims between rows that have any."""
        runs = {
            layout: {key: tuple(r for r in of if r.state == "done") for key, of in rows.items()}
            for layout, rows in self.runs.items()
        }
        kept = {layout: {key: of for key, of in rows.items() if of} for layout, rows in runs.items()}
        kept = {layout: rows for layout, rows in kept.items() if rows}
        everywhere = set.intersection(*(set(rows) for rows in kept.values())) if kept else set()
        claims = (c for c in self.experiment.claims if {c.better, c.worse} <= everywhere)
        return replace(self, runs=kept, experiment=replace(self.experiment, claims=tuple(claims)))


Refused = dict[Path, IntraclipError]
"""Run folders that hold something else than the planned run -> what they hold, without the folder's name."""


def make_plan(
    experiment: Experiment,
    scale: Scale,
    out: Path,
    sources: Mapping[str, Source],
    *,
    layouts: Sequence[str],
    seeds: Sequence[int],
    base: str,
    recipe: Recipe,
    refused: Refused,
) -> ExperimentPlan:
    """List the runs of an experiment and look how far each of them is.

    Raises:
        DataError: a data set that the experiment needs was not given.
        ConfigError: a row's recipe has wrong values.
    """
    used = [layout for layout in layouts if layout in sources]
    missing = lacking(experiment, layouts, sources)
    if missing:
        every = " and " if experiment.kind == "cross" else " or "
        raise DataError(
            f"{experiment.name} needs {every.join(layouts)} data, and --data names no "
            f"{every.join(missing)}; add the folder, or leave out --data to render people"
        )
    if experiment.kind == "cross" and same_people(sources[used[0]].root, sources[used[1]].root):
        raise DataError(
            f"{sources[used[0]].root} and {sources[used[1]].root} were rendered with the same seed: people who are "
            "trained on would be tested on; render one of them with another --seed"
        )
    also = scale.changes.get(experiment.name, {})
    recipes = {row.key: row_recipe(recipe, row, also) for row in experiment.rows if row.changes is not None}
    runs = {
        layout: {
            key: tuple(
                _planned(out, sources[layout], changed, recipe, base, refused, split=split, seed=seed)
                for seed in seeds
                for split in sources[layout].numbers
            )
            for key, changed in recipes.items()
        }
        for layout in (used[:1] if experiment.kind == "cross" else used)
    }
    return ExperimentPlan(experiment=experiment, sources=tuple(sources[name] for name in used), runs=runs)


def lacking(experiment: Experiment, layouts: Sequence[str], sources: Mapping[str, Source]) -> list[str]:
    """Data sets without which an experiment cannot be made; empty when it can."""
    missing = [layout for layout in layouts if layout not in sources]
    return missing if experiment.kind == "cross" or len(missing) == len(layouts) else []


def row_recipe(base: Recipe, row: Row, also: Mapping[str, Any]) -> Recipe:
    """The recipe of a row.

    >>> row = Row(key="a", label="a", changes={"model.head": "tap"}, times=2)
    >>> changed = row_recipe(Recipe(), row, {"input.width": 64})
    >>> changed.model.head, changed.input.width, changed.optimizer.epochs, changed.optimizer.decay_every
    ('tap', 64, 1000, 400)
    """
    changes = {**also, **(row.changes or {})}
    width = base.model.backbone_settings.get("width")
    if row.keeps_width and width is not None:
        changes["model.backbone.width"] = width
    table = merged(Recipe, table_of(base, whole=False), nested(changes))
    for name in ("epochs", "decay_every", "warmup_epochs"):
        table["optimizer"][name] *= row.times
    return recipe_from_table(table, source=f"the row {row.label!r}")


def _planned(
    out: Path,
    source: Source,
    recipe: Recipe,
    base_recipe: Recipe,
    base: str,
    refused: Refused,
    *,
    split: int,
    seed: int,
) -> PlannedRun:
    # Settings of another part than the base's are told against that part's defaults.
    parts = {"backbone": recipe.model.backbone, "head": recipe.model.head}
    aligned = recipe_from_table(
        merged(Recipe, table_of(base_recipe, whole=False), {"model": parts}), source=f"the recipe {base}"
    )
    changed = [line.partition(":")[0] for line in differing_keys(aligned, recipe)]
    recipe = replace(recipe, seed=seed, data=replace(recipe.data, split=split))
    values = flat(table_of(recipe))
    in_name = ("model.backbone", "model.head", "augment.mode")
    changes = {key: values[key] for key in dict.fromkeys((*in_name, *changed))}
    variant = "-".join(str(values[key]) for key in in_name)
    for key, value in changes.items():
        if key not in in_name:
            variant += f"+{_short(key, recipe)}={f'{value:g}' if isinstance(value, float) else value}"
    folder = out / "runs" / source.layout / variant / f"split-{split}-seed-{seed}"
    return PlannedRun(
        source=source,
        split=split,
        recipe=recipe,
        changes={**changes, "data.split": split, "seed": seed},
        base=base,
        folder=folder,
        state=look(folder, recipe, source.split(split), refused),
    )


def _short(key: str, recipe: Recipe) -> str:
    """A key in the name of a folder; a head's setting has the head's name with it, such as ``ica_reduction``."""
    name = key.rpartition(".")[2]
    return f"{recipe.model.head}_{name}" if key.startswith("model.head.") else name


def look_again(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The same runs, as far as they are now."""
    refused: Refused = {}
    found = [
        replace(run, state=look(run.folder, run.recipe, run.source.split(run.split), refused)) for run in runs
    ]
    raise_refused(refused)
    return found


def raise_refused(refused: Refused) -> None:
    """Say which run folders hold something else, those with the same reason together.

    Raises:
        IntraclipError: some do. Of the kind of the refusals, when they are all of one kind.
    """
    if not refused:
        return
    reasons: dict[str, list[str]] = {}
    for folder, error in refused.items():
        reasons.setdefault(str(error), []).append(str(folder))
    kinds = set(map(type, refused.values()))
    lines = [f"  - {reason}:\n    " + "\n    ".join(folders) for reason, folders in reasons.items()]
    hold = "s hold" if len(refused) > 1 else " holds"
    raise (kinds.pop() if len(kinds) == 1 else IntraclipError)(
        f"{len(refused)} run folder{hold} something else than the planned run; choose another "
        "--out, or delete what you no longer need to have it made again:\n" + "\n".join(lines)
    )


def look(folder: Path, recipe: Recipe, split: Split | None, refused: Refused) -> State:
    """How far a run is; a folder that holds something else is put among the `refused`."""
    try:
        return _state(folder, recipe, split)
    except IntraclipError as error:
        refused[folder] = error
        return "missing"


def _state(folder: Path, recipe: Recipe, split: Split | None) -> State:
    """As `look`. Messages of errors leave out the folder."""
    config = folder / "config.toml"
    if not config.is_file():
        found = list(folder.iterdir()) if folder.is_dir() else []
        if not all(map(is_half_written, found)):  # what a run leaves that died in its first moment
            raise OutputError("not empty, and not a run folder")
        return "interrupted" if found else "missing"
    # Another device may change the last digits; a table may hold runs of several machines, and says so.
    different = differing_in_effect(load_recipe(str(config)), recipe, ignore=("device", "data.layout"))
    if different:
        raise ConfigError(f"made with another recipe ({'; '.join(different)})")
    if split is not None:
        _check_trained_on(folder, split)
    if not (folder / "model.safetensors").is_file():
        return "done" if _is_kept(folder, recipe, split) else "interrupted"
    return "done" if _is_scored(folder, recipe, split) else "trained"


def _check_trained_on(folder: Path, split: Split) -> None:
    """Refuse a run of other data."""
    model = folder / "model.safetensors"
    same = True
    if model.is_file():
        try:
            same = read_checkpoint(model).pids == tuple(labels_of(split.train))
        except CheckpointError as error:
            raise CheckpointError(f"damaged ({error})") from None
    told = read_json(folder / "environment.json").get("data", {}).get("training_digest")
    known = (tracklets_digest(split, split.train), _digest_when_kept(folder, split, split.train))
    # Runs of earlier versions do not tell; their people were compared.
    if not same or told not in (None, *known):
        raise DataError(f"trained on other data than {split.root}")


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


def _is_kept(folder: Path, recipe: Recipe, split: Split | None) -> bool:
    """Whether a run folder without a network holds the outcomes of the present test tracklets."""
    if split is None or not all((folder / name).is_file() for name in KEPT):
        return False
    sampling = read_json(folder / "evaluation.json").get("sampling", {}).get("test_sampling")
    tested = read_json(folder / SCORES_FILE).get("tested")
    known = (tracklets_digest(split, split.test), _digest_when_kept(folder, split, split.test))
    return sampling == recipe.clip.test_sampling and tested in [[digest] for digest in known]


def _digest_when_kept(folder: Path, split: Split, tracklets: Sequence[Tracklet]) -> str | None:
    """The digest of tracklets that another machine rendered by the same settings: a frame's last bits may differ.

    None where the run's network is still there, or its data were rendered otherwise.
    """
    kept, here = read_json(folder / SCORES_FILE).get("rendered"), benchmark_info(split.root)
    if not kept or here is None or (folder / "model.safetensors").is_file():
        return None
    if any(kept.get(key) != here.get(key) for key in ("renderer_version", "config")):
        return None
    return tracklets_digest(split, tracklets, checksum=str(kept.get("sha256", "")))


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file; empty when the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
