"""Headline numbers: tables of scores, curves of the training and the CMC, and what they say in sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intraclip.core.numbers import duration
from intraclip.losses import LOSSES
from intraclip.metrics.paired import paired
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.scores import RANKS, Outcomes
from intraclip.report import plots
from intraclip.report.html import Shown
from intraclip.report.records import RunRecord
from intraclip.types import Split

COLUMNS = (*(f"rank{k}" for k in RANKS), "mAP", "mINP")

ALIKE = ("protocol", "queries", "queries_without_match", "gallery")
"""What scores that can be compared have in common."""


def main_protocol(runs: Sequence[RunRecord], split: Split | None) -> str:
    """The protocol that the page talks about: the data set's usual one if the runs have it, else their first."""
    usual = split.protocol if split else ""
    if all(usual in run.scores for run in runs):
        return usual
    shared = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    return shared[0] if shared else next(iter(runs[0].scores))


def score_tables(
    runs: Sequence[RunRecord], baselines: Mapping[str, Mapping[str, Any]], *, first: str
) -> list[Shown]:
    """Tables of scores; numbers that must not be compared never share one. Protocol `first` leads."""
    groups: dict[tuple[Any, ...], list[tuple[str, Mapping[str, Any], RunRecord | None]]] = defaultdict(list)
    entries = [(run.name, scores, run) for run in runs for scores in run.scores.values()]
    for name, scores, run in [*entries, *((name, scores, None) for name, scores in baselines.items())]:
        groups[tuple(scores[key] for key in ALIKE)].append((name, scores, run))
    tables = []
    for group, members in sorted(groups.items(), key=lambda item: item[0][0] != first):
        protocol, queries, without_match, gallery = group
        best = {column: max(float(scores[column]) for _, scores, _ in members) for column in COLUMNS}
        rows = [
            {
                "name": name,
                "baseline": run is None,
                "cells": [
                    (f"{100 * float(scores[c]):.1f}", len(members) > 1 and float(scores[c]) == best[c])
                    for c in COLUMNS
                ],
                "extra": (str(scores["distance"]), *_made_by(run)),
            }
            for name, scores, run in members
        ]
        tables.append(
            {
                "protocol": protocol,
                "about": PROTOCOLS[protocol].about if protocol in PROTOCOLS else "",
                "queries": queries,
                "without_match": without_match,
                "gallery": gallery,
                "rows": rows,
            }
        )
    return tables


def _made_by(run: RunRecord | None) -> tuple[str, str, str, str]:
    """Test clips, seed, time of training, parameters."""
    if run is None:
        return ("–", "–", "–", "–")
    sampling, parameters = run.evaluation.get("sampling", {}), run.environment.get("parameters")
    return (
        f"{sampling.get('test_sampling', '?')}, {sampling.get('num_frames', '?')} frames",
        str(run.recipe.seed),
        duration(run.seconds) if run.seconds is not None else "–",
        f"{parameters / 1e6:.2f} M" if parameters else "–",
    )


def curves(runs: Sequence[RunRecord], baselines: Mapping[str, Mapping[str, Any]], *, protocol: str) -> Shown:
    """Draw the curves; the key stands beside them once instead of in each."""
    logged = {run.name: run.epochs for run in runs}
    wanted = (
        *((key, LOSSES.load(key).title, False) for key in LOSSES),
        ("accuracy", "Training accuracy", True),
        ("active_triplets", "Active triplets", True),
    )
    training = tuple(
        plots.svg(
            plots.training_curve(logged, key=key, title=title, share=share),
            label=f"{title} over the epochs of {', '.join(name for name in logged if logged[name])}.",
        )
        for key, title, share in wanted
        if any(key in entry for entries in logged.values() for entry in entries)
    )
    cmc_runs = {run.name: run.scores[protocol]["cmc"] for run in runs if protocol in run.scores}
    cmc_baselines = {
        name: s["cmc"] for name, s in baselines.items() if s["protocol"] == protocol and "cmc" in s
    }
    figure = plots.cmc_curve(cmc_runs, baselines=cmc_baselines)
    names = [(name, plots.style_of(i)) for i, name in enumerate(logged)]
    names += [(name, plots.style_of(i, baseline=True)) for i, name in enumerate(cmc_baselines)]
    return {
        "training": training,
        "cmc": plots.svg(
            figure, label=f"CMC curves of {', '.join([*cmc_runs, *cmc_baselines])}, rank 1 to 20."
        ),
        "key": tuple((name, _line(style)) for name, style in names),
    }


def _line(style: Mapping[str, Any]) -> str:
    dashes = "" if style["linestyle"] == "solid" else ",".join(f"{2 * x:g}" for x in style["linestyle"][1])
    return (
        '<svg viewBox="0 0 30 8" width="30" height="8" aria-hidden="true"><line x1="0" y1="4" x2="30" y2="4" '
        f'stroke="{style["color"]}" stroke-width="2.5" stroke-dasharray="{dashes}"/></svg>'
    )


def summary(
    runs: Sequence[RunRecord],
    baselines: Mapping[str, Mapping[str, Any]],
    judged: Sequence[Outcomes] | None,
    *,
    protocol: str,
    seed: int,
    references: int = 0,
) -> list[str]:
    """The headline numbers in sentences, whichever way they fall."""
    scored = [(run, run.scores[protocol]) for run in runs if protocol in run.scores]
    sentences = []
    for run, scores in scored:
        queries = int(scores["queries"])
        hits = round(float(scores["rank1"]) * queries)
        sentences.append(
            f"{run.name}: the first answer is the right person for {hits} of {queries} queries "
            f"(rank‑1 {percent(scores['rank1'])}); mAP {percent(scores['mAP'])}."
        )
    if judged is not None:
        own, outcomes = runs[references:], judged[references:]
        sentences += [
            _compared(own, outcomes, number, protocol=protocol, seed=seed) for number in range(1, len(own))
        ]
    if scored:
        sentences += _against_baselines(scored, baselines)
    return sentences


def _compared(
    runs: Sequence[RunRecord], judged: Sequence[Outcomes], number: int, *, protocol: str, seed: int
) -> str:
    """Run `number` against the first one."""
    first, other = runs[0].scores[protocol], runs[number].scores[protocol]
    text = (
        f"{runs[number].name} against {runs[0].name}: rank‑1 {points(other['rank1'] - first['rank1'])}, "
        f"mAP {points(other['mAP'] - first['mAP'])}."
    )
    pids = runs[0].embeddings.pids[judged[0].rows]
    same = np.array_equal(judged[0].average_precisions, judged[number].average_precisions)
    if same or len(np.unique(pids)) < 2:
        return text
    found = paired(judged[0], judged[number], pids, seed=seed)
    difference = found.scores["mAP"]
    low, high = difference.low or 0.0, difference.high or 0.0  # never None of a pair
    verdict = (
        "with other people the difference could turn round"
        if low <= 0 <= high
        else "more than the choice of people explains"
    )
    return (
        f"{text} Had other people been tested, the mAP difference would lie between {signed(low)} and "
        f"{signed(high)} points (95 % interval, {found.resamples} bootstrap draws of {found.people} "
        f"people): {verdict}. This is one training each; another seed moves both."
    )


def _against_baselines(
    scored: Sequence[tuple[RunRecord, Mapping[str, Any]]], baselines: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The runs against the strongest baseline that was scored alike."""
    comparable = {
        name: float(scores["mAP"])
        for name, scores in baselines.items()
        if all(scores[key] == scored[0][1][key] for key in ("protocol", "queries", "gallery"))
    }
    if not comparable:
        return []
    name = max(comparable, key=comparable.__getitem__)
    parts = []
    for word, sign in (("Above", 1), ("Level with", 0), ("Below", -1)):
        found = [run.name for run, own in scored if np.sign(float(own["mAP"]) - comparable[name]) == sign]
        if found:
            parts.append(f"{word} it: {'; '.join(found)}")
    return [f"The strongest baseline is {name} with mAP {percent(comparable[name])}. {'. '.join(parts)}."]


def percent(share: float) -> str:
    """A share of 0..1 as a percentage with one digit."""
    return f"{100 * float(share):.1f}\u00a0%"


def signed(difference: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def points(difference: float) -> str:
    """A difference of shares in words."""
    size = abs(100 * difference)
    if round(size, 1) == 0:
        return "the same"
    return f"{size:.1f} points {'higher' if difference > 0 else 'lower'}"
