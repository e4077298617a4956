"""Curves of the training, and the CMC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intraclip.losses import LOSSES
from intraclip.report import plots
from intraclip.report.html import Shown
from intraclip.report.records import RunRecord


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
