"""Cross-dataset evaluation: train on every split of one data set, test on every split of another (paper, Table 4).

::

    OUT/
      split-00/     the run trained on training split 0; one folder a split, see `intraclip.train`
      cross.json    every pair of splits, means, deviations and intervals
      cross.md      the same as a table
      cross.html    the same as a page, where the extra `report` is installed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from intraclip.config import Recipe
from intraclip.core.devices import choose_device
from intraclip.core.folders import require_empty_folder
from intraclip.core.jobs import alone
from intraclip.data.readers.common import benchmark_info, shorten
from intraclip.data.readers.counts import differences
from intraclip.data.readers.ilids_vid import ILIDS_VID_PUBLISHED
from intraclip.data.readers.prid2011 import PRID2011_PUBLISHED
from intraclip.embed.evaluate import Sampling, SplitsEvaluation, evaluate_splits
from intraclip.errors import ConfigError
from intraclip.lab.reproduce.experiments import MEASURES, TABLE_4
from intraclip.lab.reproduce.plan import Refused, look, raise_refused, read_json
from intraclip.lab.reproduce.statistics import measured, over_trainings, student
from intraclip.lab.reproduce.tables import Page, Table, ends_text, sample_text, write_result
from intraclip.lab.splits import raise_problems, read_testing, read_training, same_people
from intraclip.lab.view import View
from intraclip.metrics.distance import Distance
from intraclip.models.checkpoint import model_file, read_checkpoint
from intraclip.recipe_files import load_recipe
from intraclip.train.comparing import differing_in_effect
from intraclip.types import Split

SCORED = (*MEASURES, "rank10", "mINP")
"""Measures in `cross.json`; the table shows those of the paper's."""

PRINTED = {m: round(v / 100, 4) for m, v in TABLE_4.row("model-4").printed["prid2011"].items()}
"""Printed in the paper's Table 4: ICA and SDA (model 4), trained on iLIDS-VID, tested on PRID-2011."""
PRINTED_SOURCE = "printed in the paper (Table 4, ICA+SDA, trained on iLIDS-VID)"

DEVIATION = (
    "sample standard deviation (n - 1) over all pairs of a training split and a test split. Pairs that share a split "
    "are not independent: the deviation between training splits is that of their means over the test splits, and "
    "the other way round. The interval is of the mean over trainings, by Student's t; splits share people, and their "
    "interval is widened (Nadeau & Bengio 2003)"
)


@dataclass(frozen=True, kw_only=True)
class CrossRun:
    """A trained network and what it was trained on.

    Attributes:
        folder: run folder or checkpoint file.
        dataset: name of the training data set; empty when the run does not say.
        root: its folder; empty when the run does not say.
    """

    folder: Path
    dataset: str
    root: str
    split: int
    identities: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How the runs are tested."""

    protocol: str | None = None
    distance: Distance = "euclidean"
    sampling: Sampling | None = None
    device: str | None = None


def cross_dataset(
    train_root: Path,
    test_root: Path,
    recipe: Recipe,
    out: Path,
    *,
    splits: Sequence[int] | None = None,
    test_splits: Sequence[int] | None = None,
    test_layout: str = "auto",
    settings: EvaluationSettings | None = None,
    resume: bool = False,
    view: View | None = None,
) -> dict[str, Any]:
    """Train on every split of one data set, test on every split of another, write the result.

    Everything that can be checked is checked before anything is trained.

    Returns:
        The content of `cross.json`.

    Raises:
        ConfigError: unknown protocol; both data sets are the same; runs in `out` were made with another recipe.
        DataError: splits cannot be read, or cannot be trained or tested on: all of them at once; or runs in `out` were
            trained on other people.
        OutputError: `out` is not empty and `resume` is not set.
    """
    view, settings = view or View(), settings or EvaluationSettings()
    if out.is_file() or not resume:
        require_empty_folder(out, remedy="choose another --out, or continue that one with --resume")
    choose_device(recipe.device)
    problems: list[str] = []
    training = read_training(train_root, splits, layout=recipe.data.layout, recipe=recipe, problems=problems)
    testing = read_testing(
        test_root, test_splits, layout=test_layout, protocol=settings.protocol, problems=problems
    )
    raise_problems(problems)
    if training[0].root.resolve() == testing[0].root.resolve():
        raise ConfigError(
            f"{train_root} and {test_root} are one data set ({training[0].dataset}): people trained on in one split "
            "are tested on in another; use `intraclip train` and `intraclip evaluate` split by split"
        )
    recipes = [replace(recipe, data=replace(recipe.data, split=split.index)) for split in training]
    folders = [out / f"split-{split.index:02d}" for split in training]
    refused: Refused = {}
    for split, own, folder in zip(training, recipes, folders, strict=True):
        look(folder, own, split, refused)
    raise_refused(refused)
    begun = [folder / "config.toml" for folder in folders]  # the same, but perhaps for the device
    recipes = [load_recipe(str(f)) if f.is_file() else own for f, own in zip(begun, recipes, strict=True)]

    with alone(out, remove=True):
        for split, own, folder in zip(training, recipes, folders, strict=True):
            view.train(split, own, folder, what=f"training split {split.index} of {split.dataset}")
        return _tested([_described(folder) for folder in folders], testing, settings, view, out)


def cross_runs(
    run_folders: Sequence[Path],
    test_root: Path,
    *,
    out: Path | None = None,
    test_splits: Sequence[int] | None = None,
    test_layout: str = "auto",
    settings: EvaluationSettings | None = None,
    view: View | None = None,
) -> dict[str, Any]:
    """Test runs that exist on every split of another data set.

    Returns:
        As `cross_dataset`.

    Raises:
        ConfigError: a run is named twice, runs were trained on several data sets, or on the test data set itself.
    """
    view, settings = view or View(), settings or EvaluationSettings()
    if out is not None:
        require_empty_folder(out, remedy="choose another --out")
    choose_device(settings.device or "auto")
    runs = [_described(folder) for folder in run_folders]
    if not runs:
        raise ConfigError("name at least one run")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise ConfigError(f"a run is named twice: {', '.join(str(run.folder) for run in runs)}")
    datasets = sorted({run.dataset or "unknown" for run in runs})
    if len(datasets) > 1:
        raise ConfigError(
            f"the runs were trained on several data sets ({', '.join(datasets)}); a mean over them says nothing"
        )
    problems: list[str] = []
    testing = read_testing(
        test_root, test_splits, layout=test_layout, protocol=settings.protocol, problems=problems
    )
    raise_problems(problems)
    for run in runs:
        if run.root and Path(run.root).resolve() == testing[0].root.resolve():
            raise ConfigError(
                f"{run.folder} was trained on {run.root}, which is the test data set: its test people were trained "
                "on in other splits; use `intraclip evaluate` for the run's own split"
            )
    with nullcontext() if out is None else alone(out, remove=True):
        return _tested(runs, testing, settings, view, out)


def _described(folder: Path) -> CrossRun:
    checkpoint = read_checkpoint(model_file(folder))
    # A checkpoint alone knows its split, but not the data set; older or moved runs are tested all the same.
    data = read_json(folder / "environment.json").get("data") or {}
    return CrossRun(
        folder=folder,
        dataset=str(data.get("dataset", "")),
        root=str(data.get("root", "")),
        split=checkpoint.recipe.data.split,
        identities=len(checkpoint.pids),
    )


# -- scores ------------------------------------------------------------------------------------------------


def _tested(
    runs: Sequence[CrossRun],
    testing: Sequence[Split],
    settings: EvaluationSettings,
    view: View,
    out: Path | None,
) -> dict[str, Any]:
    """The result of every run on every split, written where there is an `out`."""
    results = []
    for run in runs:
        with view.progress(f"embedding with {run.folder.name}") as update:
            found = evaluate_splits(run.folder, testing, progress=update, **vars(settings))
        rank1 = sample_text(_spread([s.rank(1) for s in found.scores]))
        view.say(f"{run.folder}: rank-1 {rank1} on {len(testing)} splits of {testing[0].dataset}")
        results.append(found)
    result = summarise(runs, testing, results)
    if out is not None:
        write_result(out / "cross.md", page(result), result)
    return result


def summarise(
    runs: Sequence[CrossRun], testing: Sequence[Split], results: Sequence[SplitsEvaluation]
) -> dict[str, Any]:
    """Everything `cross.json` holds.

    Returns:
        ``pairs`` (one a training and test split), ``by_run``, ``summary`` (mean and deviations by measure),
        ``printed`` (the paper's row, or None), and everything that makes the numbers what they are.
    """
    grid = [[{m: measured(scores, m) for m in SCORED} for scores in result.scores] for result in results]
    pairs = [
        {
            "train_split": run.split,
            "test_split": split.index,
            "run": str(run.folder),
            **measures,
            "queries": scores.queries,
            "queries_without_match": scores.queries_without_match,
            "gallery": scores.gallery,
        }
        for run, row, result in zip(runs, grid, results, strict=True)
        for split, measures, scores in zip(testing, row, result.scores, strict=True)
    ]
    by_run = [
        {
            "train_split": run.split,
            "run": str(run.folder),
            **{m: _spread([cell[m] for cell in row]) for m in SCORED},
        }
        for run, row in zip(runs, grid, strict=True)
    ]
    summary = {}
    for m in SCORED:
        table = [[cell[m] for cell in row] for row in grid]
        # Runs of one split, such as those of several seeds, are told apart by their place.
        trained = {
            (run.split, place): fmean(row) for place, (run, row) in enumerate(zip(runs, table, strict=True))
        }
        sure = over_trainings(trained)
        summary[m] = {
            **_spread([value for row in table for value in row]),
            "low": sure.low,
            "high": sure.high,
            "trainings": sure.count,
            "between_train_splits": student([fmean(row) for row in table]).deviation,
            "between_test_splits": student([fmean(c) for c in zip(*table, strict=True)]).deviation,
        }
    printed, notes = printed_row(runs, testing)
    notes += _run_notes(runs)
    first = results[0]
    return {
        "train": {
            "dataset": runs[0].dataset or "unknown",
            "root": runs[0].root,
            "splits": [run.split for run in runs],
            "identities": [run.identities for run in runs],
        },
        "test": {
            "dataset": testing[0].dataset,
            "root": str(testing[0].root),
            "splits": [split.index for split in testing],
        },
        "protocol": first.scores[0].protocol,
        "distance": first.scores[0].distance,
        "pairs": pairs,
        "by_run": by_run,
        "summary": summary,
        "deviation": DEVIATION,
        "printed": printed,
        "notes": notes,
        **first.described,
    }


def printed_row(
    runs: Sequence[CrossRun], testing: Sequence[Split]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The paper's row, when these are the paper's data sets, and what has to be said about it."""
    trained, tested = runs[0].dataset, testing[0].dataset
    rendered = [tested] if benchmark_info(testing[0].root) is not None else []
    if trained.startswith("benchmark-"):
        rendered.insert(0, trained)
    if rendered:
        notes = [
            f"rendered people ({' and '.join(rendered)}): these numbers cannot be compared with the paper's"
        ]
        if len(rendered) == 2 and same_people(Path(runs[0].root), testing[0].root):
            notes.append(
                "both data sets were rendered with the same seed, so the people trained on are tested on too; render "
                "one of them with another --seed"
            )
        return None, notes
    if (trained, tested) != ("ilids-vid", "prid2011"):
        return None, []
    wanted = ILIDS_VID_PUBLISHED.counts["training pids"]
    wrong = [
        f"iLIDS-VID, published: {wanted} training pids; {run.folder.name} has {run.identities}"
        for run in runs
        if run.identities != wanted
    ]
    wrong += [f"PRID-2011, {difference}" for difference in differences(testing[0], PRID2011_PUBLISHED)]
    if wrong:
        return None, [
            f"these are not the published data sets, so the paper's row is left out: {shorten(wrong)}"
        ]
    return {"source": PRINTED_SOURCE, **PRINTED}, [
        "the paper does not say which splits, protocol and distance its Table 4 was taken with"
    ]


def _run_notes(runs: Sequence[CrossRun]) -> list[str]:
    checkpoints = [read_checkpoint(model_file(run.folder)) for run in runs]
    notes = [
        f"{run.folder} is not trained to its end: epoch {c.epoch} of {c.recipe.optimizer.epochs}"
        for run, c in zip(runs, checkpoints, strict=True)
        if c.epoch < c.recipe.optimizer.epochs
    ]
    different = {
        line.split(":", 1)[0]
        for c in checkpoints[1:]
        for line in differing_in_effect(checkpoints[0].recipe, c.recipe)
    } - {"data.split", "device"}
    if different:
        notes.append(f"the runs differ in {', '.join(sorted(different))}: the mean mixes them")
    return notes


def page(result: Mapping[str, Any]) -> Page:
    """What is shown of a result: one table, in percent."""
    summary, tests, trains = result["summary"], result["test"]["splits"], result["train"]["splits"]
    # Runs of one split, such as those of several seeds, need their names to be told apart.
    named = len(set(trains)) < len(trains)
    rows = [
        (
            (f"{Path(entry['run']).name}, " if named else "")
            + f"training split {entry['train_split']} ({len(tests)} test splits)",
            *(sample_text(entry[m]) for m in MEASURES),
        )
        for entry in result["by_run"]
    ]
    spreads = [{key: summary[m][key] for key in ("mean", "deviation")} for m in MEASURES]
    rows.append((f"all {len(result['pairs'])} pairs", *map(sample_text, spreads)))
    for many, key, what in (
        (trains, "between_train_splits", "runs" if named else "training splits"),
        (tests, "between_test_splits", "test splits"),
    ):
        if len(many) > 1:
            spread = (f"± {100 * summary[m][key]:.1f}" for m in MEASURES)
            rows.append((f"deviation between {len(many)} {what}", *spread))
    ends = [(summary[m]["low"], summary[m]["high"]) for m in MEASURES]
    if any(low is not None for low, _ in ends):
        shown = ("" if low is None else ends_text(low, high) for low, high in ends)
        rows.append((f"95 % interval over {summary['mAP']['trainings']} trainings", *shown))
    if result["printed"] is not None:
        printed = result["printed"]
        known = (f"{100 * printed[m]:.1f}" if m in printed else "not printed" for m in MEASURES)
        rows.append((printed["source"], *known))
    return Page(
        title=f"Trained on {result['train']['dataset']}, tested on {result['test']['dataset']}",
        tables=(Table(title="In percent", header=("", *MEASURES.values()), rows=tuple(rows)),),
        remarks=tuple(_remarks(result)),
    )


def _remarks(result: Mapping[str, Any]) -> list[str]:
    """How the numbers were taken."""
    counted = sorted({pair["queries"] for pair in result["pairs"]})
    lost = sum(pair["queries_without_match"] for pair in result["pairs"])
    queries = str(counted[0]) if len(counted) == 1 else f"{counted[0]} to {counted[-1]}"
    sampling, model = result["sampling"], result["model"]
    return [
        f"Trained on {result['train']['dataset']}, tested on {result['test']['dataset']}; protocol "
        f"{result['protocol']}, distance {result['distance']}, test clips {sampling['test_sampling']} of "
        f"{sampling['num_frames']} frames.",
        f"Queries counted in a test split: {queries}; queries without a match, not counted: {lost} in all pairs.",
        f"Backbone {model['backbone']}, head {model['head']}, augmentation {model['augmentation']}, seed "
        f"{model['seed']}.",
        f"± is the {result['deviation']}.",
        *(f"Note: {note}." for note in result["notes"]),
    ]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation."""
    found = student(values)
    return {"mean": found.value, "deviation": found.deviation}
