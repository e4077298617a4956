"""From finished runs to the numbers of a table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.files import file_digest, write_json
from intraclip.core.settings import table_of
from intraclip.core.tables import write_csv
from intraclip.data.readers.common import benchmark_info, tracklets_digest
from intraclip.data.readers.counts import unlike_published
from intraclip.embed.embeddings_io import load_embeddings
from intraclip.embed.evaluate import evaluate_splits
from intraclip.errors import DataError
from intraclip.lab.reproduce.estimate import trained_seconds
from intraclip.lab.reproduce.experiments import MEASURES
from intraclip.lab.reproduce.nuisances import by_nuisance
from intraclip.lab.reproduce.plan import SCORES_FILE, ExperimentPlan, PlannedRun, read_json
from intraclip.lab.reproduce.scales import Settings
from intraclip.lab.reproduce.sources import Source
from intraclip.lab.reproduce.statistics import FEWEST_PEOPLE, Trainings, gains, holm, measured, plain, sample
from intraclip.losses import LOSSES
from intraclip.metrics.distance import Distance
from intraclip.metrics.protocols import Protocol, protocol_named
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import Outcomes, Scores
from intraclip.report.records import read_log

CROSS_FILE = "cross-{layout}.json"
"""In a run folder: its scores on another data set, so that they are computed once."""

UNTRAINED = 0.75
"""Share of chance's identity loss above which a row has failed to train, and no claim about it is a result."""

CURVE_POINTS = 10
"""Epochs of a training curve that a table shows."""


def table_result(
    plan: ExperimentPlan, settings: Settings, *, recipe: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Score every run of a table by the protocol and distance of the settings, and test its claims.

    Returns:
        Plain values: ``rows`` with their recipes and their measures by data set, ``claims`` with their gains,
        ``datasets``, ``machines`` and ``notes``. Shares are in 0..1; what the paper prints is in percent. ``p_holm``
        is a p-value over people, adjusted for the claims of its data set and measure.
    """
    experiment = plan.experiment
    rows: dict[str, dict[str, Any]] = {
        row.key: {
            "label": row.label,
            "changes": dict(row.changes) if row.changes is not None else None,
            "recipe": _recipe(plan, row.key),
            "printed": {layout: dict(found) for layout, found in row.printed.items()},
            "results": {},
        }
        for row in experiment.rows
    }
    claims: list[dict[str, Any]] = [
        {**asdict(claim), "results": {}, "differing": {}, "untrained": {}} for claim in experiment.claims
    ]
    datasets: dict[str, Any] = {}
    trained = [run for by_row in plan.runs.values() for runs in by_row.values() for run in runs]
    for train_layout, by_row in plan.runs.items():
        tested = plan.sources[-1] if experiment.kind == "cross" else _source(plan, train_layout)
        protocol = protocol_named(settings.protocol or tested.splits[0].protocol)
        scores: dict[str, Trainings] = {}
        pids: dict[int, npt.NDArray[np.int64]] = {}
        for key, runs in by_row.items():
            found: dict[tuple[int, int], Scores] = {}
            for run in runs:
                packed = (
                    _on_other(run, tested, protocol, settings.distance, say)
                    if experiment.kind == "cross"
                    else _own(run, protocol, settings.distance)
                )
                found[run.split, run.recipe.seed] = _joined(packed, protocol.name, settings.distance)
                pids[run.split] = np.concatenate([np.asarray(one["pids"], dtype=np.int64) for one in packed])
            scores[key] = found
            rows[key]["results"][tested.layout] = _row_result(runs, scores[key])
        tests = tuple(dict.fromkeys((experiment.measured_by, "rank1")))
        for claim in claims:
            better, worse = claim["better"], claim["worse"]
            found_gains = gains(scores[better], scores[worse], pids, tests)
            claim["results"][tested.layout] = {m: g.to_json_dict() for m, g in found_gains.items()}
            claim["differing"][tested.layout] = differing([*by_row[better], *by_row[worse]])
        for measure in tests:
            _adjust(claims, tested.layout, measure)
        trained_on = _source(plan, train_layout)
        datasets[tested.layout] = _dataset(tested, trained_on, protocol, next(iter(scores.values())), pids)
        chance = datasets[tested.layout]["chance_identity_loss"]
        for claim in claims:
            claim["untrained"][tested.layout] = [
                key
                for key in (claim["better"], claim["worse"])
                if (rows[key]["results"][tested.layout]["training_identity"] or 0.0) > UNTRAINED * chance
            ]
        if experiment.nuisances and len(tested.splits) == 1:
            datasets[tested.layout]["nuisances"] = by_nuisance(tested.splits[0], scores, pids, claims)
        if experiment.kind == "cross":
            datasets[tested.layout]["trained_on"] = trained_on.splits[0].dataset
    return {
        "name": experiment.name,
        "title": experiment.title,
        "about": experiment.about,
        "measured_by": experiment.measured_by,
        "scale": settings.scale,
        "recipe": recipe,
        "distance": settings.distance,
        "seeds": sorted({run.recipe.seed for run in trained}),
        "datasets": datasets,
        "rows": rows,
        "claims": claims,
        "machines": machines(trained),
        "notes": [*_notes(plan, datasets, claims), *_unequal(plan), *_rendered_elsewhere(trained)],
        "date": datetime.now(UTC).date().isoformat(),
    }


def machines(runs: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    """What the runs were made on: processor, device, versions, commit; each kind once, with the number of runs."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        said = read_json(run.folder / "environment.json")
        kind = {
            "processor": said.get("processor", "unknown"),
            "cores": said.get("cores"),
            "device": said.get("device", "unknown"),
            "threads": said.get("threads"),
            "processes": said.get("processes"),
            "torch": said.get("packages", {}).get("torch", "unknown"),
            "commit": said.get("commit", ""),
        }
        found.setdefault(json.dumps(kind), {**kind, "runs": 0})["runs"] += 1
    return list(found.values())


def differing(runs: Sequence[PlannedRun]) -> dict[str, list[str]]:
    """In what the code behind runs differs: ``commit`` or a package -> its versions; empty where it is the same."""
    versions = []
    for run in runs:
        said = read_json(run.folder / "environment.json")
        versions.append({"commit": said.get("commit") or "unknown", **said.get("packages", {})})
    found = {
        name: sorted({str(of.get(name, "unknown")) for of in versions})
        for name in dict.fromkeys(name for of in versions for name in of)
    }
    return {name: several for name, several in found.items() if len(several) > 1}


def write_curves(path: Path, runs: Sequence[PlannedRun]) -> None:
    """Write the training metrics of runs as one small CSV file: run, epoch, loss, each loss of its own, accuracy."""
    columns = ("loss", *LOSSES, "accuracy")
    rows = [
        (run.name, entry["epoch"], *(f"{entry[name]:.4g}" if name in entry else "" for name in columns))
        for run in runs
        for entry in read_log(run.folder)
    ]
    write_csv(path, ("run", "epoch", *columns), rows)


def _source(plan: ExperimentPlan, layout: str) -> Source:
    return next(source for source in plan.sources if source.layout == layout)


def _recipe(plan: ExperimentPlan, key: str) -> dict[str, Any] | None:
    """All settings of a row but seed and split, which its runs differ in; None where it cannot be trained."""
    for by_row in plan.runs.values():
        for run in by_row.get(key, ()):
            found = table_of(run.recipe)
            del found["seed"], found["data"]["split"]
            return found
    return None


def _adjust(claims: Sequence[Mapping[str, Any]], layout: str, measure: str) -> None:
    """Add the p-values over people that take all claims of a table into account."""
    results = (claim["results"][layout].get(measure) for claim in claims)
    people = [found["people"] for found in results if found is not None and found["people"] is not None]
    for found, adjusted in zip(people, holm([found["p_value"] for found in people]), strict=True):
        found["p_holm"] = adjusted


Packed = list[dict[str, Any]]
"""Scores of a run by split, with the people searched for, as they are kept in its folder."""


def _own(run: PlannedRun, protocol: Protocol, distance: Distance) -> Packed:
    """Scores of a run on its own split, kept as `SCORES_FILE`."""
    split = run.source.split(run.split)
    assert split is not None
    cache, embedded = run.folder / SCORES_FILE, run.folder / "embeddings.npz"
    wanted: dict[str, Any] = {"protocol": protocol.name, "distance": distance}
    found = read_json(cache)
    if not embedded.is_file():
        if {key: found.get(key) for key in wanted} != wanted:
            raise DataError(
                f"{cache} holds scores by {found.get('protocol')} and {found.get('distance')} distance, and the run's "
                f"embeddings were not kept to score it by {protocol.name} and {distance} distance; delete the "
                "folder to train it again"
            )
        return list(found["scores"])
    wanted |= {"model": _model_digest(run), "tested": [tracklets_digest(split, split.test)]}
    if {key: found.get(key) for key in wanted} != wanted:
        embeddings = load_embeddings(embedded)
        scores = score(embeddings, protocol, distance=distance)
        people = embeddings.pids[scores.outcomes.rows].tolist()
        rendered = benchmark_info(run.source.root) or {}
        told = {key: rendered[key] for key in ("renderer_version", "config", "sha256") if key in rendered}
        found = {**wanted, "rendered": told, "scores": [_packed(scores, split.index, people)]}
        write_json(cache, found, indent=None)
    return list(found["scores"])


def _model_digest(run: PlannedRun) -> str:
    """Digest of a run's network; of one that was not kept, as it was when it was scored."""
    model = run.folder / "model.safetensors"
    if model.is_file():
        return file_digest(model)
    return str(read_json(run.folder / "evaluation.json").get("model", {}).get("sha256", ""))


def _on_other(
    run: PlannedRun, tested: Source, protocol: Protocol, distance: Distance, say: Callable[[str], None]
) -> Packed:
    """Scores of a run on every split of another data set."""
    cache = run.folder / CROSS_FILE.format(layout=tested.layout)
    wanted = {
        "model": _model_digest(run),
        "tested": [tracklets_digest(split, split.test) for split in tested.splits],
        "splits": list(tested.numbers),
        "protocol": protocol.name,
        "distance": distance,
    }
    found = read_json(cache)
    if {key: found.get(key) for key in wanted} != wanted:
        say(f"testing {run.name} on {len(tested.splits)} splits of {tested.splits[0].dataset}")
        evaluated = evaluate_splits(run.folder, tested.splits, protocol=protocol.name, distance=distance)
        scores = [
            _packed(scores, split.index, [split.test[row].pid for row in scores.outcomes.rows])
            for split, scores in zip(tested.splits, evaluated.scores, strict=True)
        ]
        found = {**wanted, "scores": scores}
        write_json(cache, found)
    return list(found["scores"])


def _packed(scores: Scores, split: int, pids: Sequence[int]) -> dict[str, Any]:
    """See `Packed`."""
    return {
        "split": split,
        "pids": list(pids),
        "cmc": scores.cmc.tolist(),
        "mAP": scores.mAP,
        "mINP": scores.mINP,
        "counts": [scores.queries, scores.queries_without_match, scores.gallery],
        # Ten decimals: nothing shows more, and many runs may lie in a repository.
        **{name: getattr(scores.outcomes, name).round(10).tolist() for name in Outcomes.__dataclass_fields__},
    }


def _joined(packed: Packed, protocol: str, distance: str) -> Scores:
    """Means over splits, with the queries of all of them; counts are those of the first."""
    queries, without, gallery = packed[0]["counts"]
    return Scores(
        protocol=protocol,
        distance=distance,
        cmc=np.mean([one["cmc"] for one in packed], axis=0),
        mAP=fmean(one["mAP"] for one in packed),
        mINP=fmean(one["mINP"] for one in packed),
        queries=queries,
        queries_without_match=without,
        gallery=gallery,
        outcomes=Outcomes(
            **{
                name: np.concatenate([np.asarray(one[name]) for one in packed])
                for name in Outcomes.__dataclass_fields__
            }
        ),
    )


def _row_result(runs: Sequence[PlannedRun], trainings: Trainings) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    logs = [read_log(run.folder) for run in runs]
    for run, log in zip(runs, logs, strict=True):
        scores = trainings[run.split, run.recipe.seed]
        last = log[-1] if log else {}
        entries.append(
            {
                "run": run.name,
                "split": run.split,
                "seed": run.recipe.seed,
                **{m: measured(scores, m) for m in (*MEASURES, "mINP")},
                "seconds": trained_seconds(run.folder),
                "training_accuracy": last.get("accuracy"),
                **{f"training_{name}": last.get(name) for name in LOSSES},
            }
        )
    told = ("seconds", "training_accuracy", *(f"training_{name}" for name in LOSSES))
    known = {key: [e[key] for e in entries if e[key] is not None] for key in told}
    return {
        "measures": {m: plain(sample(trainings, m)) for m in (*MEASURES, "mINP")},
        **{key: fmean(values) if values else None for key, values in known.items()},
        "curve": _curve(logs),
        "parameters": read_json(runs[0].folder / "environment.json").get("parameters"),
        "runs": entries,
    }


def _curve(logs: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[float]]:
    """Epochs, evenly chosen, and the identity loss in them: mean over runs."""
    found = [[entry.get("identity", math.nan) for entry in log] for log in logs]
    epochs = min(map(len, found))
    if not epochs or any(math.isnan(value) for losses in found for value in losses):
        return []
    chosen = sorted({math.ceil(epochs * (i + 1) / CURVE_POINTS) for i in range(CURVE_POINTS)})
    return [[epoch, fmean(losses[epoch - 1] for losses in found)] for epoch in chosen]


def _dataset(
    tested: Source,
    trained: Source,
    protocol: Protocol,
    trainings: Trainings,
    pids: Mapping[int, npt.NDArray[np.int64]],
) -> dict[str, Any]:
    first = next(iter(trainings.values()))
    split = tested.splits[0]
    if (made := benchmark_info(tested.root)) is not None:
        config = made.get("config", {})
        told = {key: config.get(key) for key in ("identities", "cameras", "seed", "frames")}
        made = {"sha256": made.get("sha256"), **told}
    return {
        "dataset": split.dataset,
        "protocol": protocol.name,
        "splits": list(tested.numbers),
        "trained_splits": list(trained.numbers),
        "training_identities": trained.identities,
        # Of a model that gives every class the same probability.
        "chance_identity_loss": math.log(trained.identities),
        "queries": first.queries,
        "queries_without_match": first.queries_without_match,
        "gallery": first.gallery,
        "test_people": len(
            np.unique(next(iter(pids.values()))[: first.queries])
        ),  # of the first split, as all counts
        "rendered": made,
        "differs_from_published": unlike_published(tested.layout, split),
    }


def _unequal(plan: ExperimentPlan) -> list[str]:
    """How many trainings each row has, where they differ or rows are missing: of a table that is not finished."""
    found = []
    for layout, by_row in plan.runs.items():
        counts = {
            row.key: len(by_row.get(row.key, ())) for row in plan.experiment.rows if row.changes is not None
        }
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{key} {count}" for key, count in counts.items())
            found.append(f"{layout}: this table is not finished; trainings by row so far: {told}")
    return found


def _rendered_elsewhere(runs: Sequence[PlannedRun]) -> list[str]:
    """A sentence where frames that runs were made on were rendered on several machines and differ in a bit."""
    sums = {
        (run.source.root, read_json(run.folder / SCORES_FILE).get("rendered", {}).get("sha256"))
        for run in runs
    }
    if len(sums) == len({root for root, _ in sums}):
        return []
    return ["runs come from machines whose rendered frames have the same settings and not the same checksum"]


def _notes(
    plan: ExperimentPlan, datasets: Mapping[str, Mapping[str, Any]], claims: Sequence[Mapping[str, Any]]
) -> list[str]:
    notes = [row.note for row in plan.experiment.rows if row.note]
    for layout, found in datasets.items():
        if found["rendered"] is not None:
            notes.append(
                f"{layout}: rendered people stand in for the data set; the printed figures are beside ours for "
                "their order, not for their height"
            )
        if found["differs_from_published"]:
            notes.append(
                f"{layout}: this copy is not the published data set ({'; '.join(found['differs_from_published'])})"
            )
        gains_here = [gain for claim in claims for gain in claim["results"][layout].values()]
        people = min((g["people"]["count"] if g["people"] else 1 for g in gains_here), default=FEWEST_PEOPLE)
        if people < FEWEST_PEOPLE:
            notes.append(
                f"{layout}: {people} test people are too few for any claim to count as shown; it takes {FEWEST_PEOPLE}"
            )
    mixed = {c["text"]: [kinds for kinds in c["differing"].values() if kinds] for c in claims}
    if any(mixed.values()):
        versions: dict[str, set[str]] = {}
        for name, several in (item for found in mixed.values() for kinds in found for item in kinds.items()):
            versions.setdefault(name, set()).update(several)
        told = "; ".join(f"{name} {', '.join(sorted(several))}" for name, several in versions.items())
        of = [text for text, found in mixed.items() if found]
        notes.append(
            f"compared runs were made with different code or packages ({told}), in "
            + ("every claim" if len(of) == len(mixed) else f"the claims: {'; '.join(of)}")
        )
    return notes
