"""The files of an experiment whose runs are all done: Markdown, HTML, JSON, curves and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from intraclip.core.files import write_json, write_text
from intraclip.errors import OutputError
from intraclip.lab.reproduce.figures_result import FigureResult
from intraclip.lab.reproduce.plan import ExperimentPlan
from intraclip.lab.reproduce.results import Scoring, table_result, write_curves
from intraclip.lab.reproduce.tables import markdown, remarks, tables
from intraclip.report.html import write_page

FIGURE_NAMES: Mapping[str, Mapping[str, str]] = {
    "fig1": {"model-2": "TAP", "model-4": "ICA"},
    "fig3": {"model-1": "asynchronous", "model-2": "synchronous"},
}
"""Figure -> row -> what its runs are called in the picture."""


def write_table(
    one: ExperimentPlan, out: Path, scoring: Scoring, *, scale: str, recipe: str, say: Callable[[str], None]
) -> Path:
    """Score the runs of a table and write it; returns the Markdown file."""
    result = table_result(one, scoring, scale=scale, recipe=recipe, say=say)
    write_curves(out / f"{one.experiment.name}-curves.csv", one.all_runs)
    return _write(one, out, result, markdown(result), tables=tables(result), remarks=remarks(result))


def write_figure(one: ExperimentPlan, out: Path) -> Path:
    """Draw a figure from its runs and write it; returns the Markdown file."""
    from intraclip.lab.reproduce import fig1, fig3

    experiment, source = one.experiment, one.sources[0]
    split = source.splits[0]
    folders = {
        key: [run.folder for run in runs if run.split == split.index]
        for key, runs in one.runs[source.layout].items()
    }
    names = FIGURE_NAMES[experiment.name]
    draw = fig1.draw if experiment.kind == "fig1" else fig3.draw
    found: FigureResult = draw({names[key]: runs for key, runs in folders.items()}, split, out)
    return _write(
        one,
        out,
        found.to_json_dict(),
        found.to_markdown(),
        tables=[found.table()],
        remarks=found.caption,
        pictures=[{"source": _data_uri(path), "alt": found.title} for path in found.pictures],
    )


def _write(one: ExperimentPlan, out: Path, result: Mapping[str, Any], text: str, **shown: Any) -> Path:
    """Write a result as JSON, Markdown, and one self-contained HTML page of what is shown."""
    experiment = one.experiment
    section = {"title": experiment.title, "about": experiment.about, "pictures": [], **shown}
    file = out / f"{experiment.name}.md"
    write_json(file.with_suffix(".json"), result)
    write_text(file, text)
    write_page(
        file.with_suffix(".html"),
        "page.html.j2",
        package="intraclip.lab.reproduce",
        title=experiment.title,
        sections=[section],
        note="",
    )
    return file


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}") from None
