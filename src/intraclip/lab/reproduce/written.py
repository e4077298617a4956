"""The files of an experiment whose runs are all done: Markdown, HTML, JSON, curves and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

from intraclip.core.files import write_json, write_text
from intraclip.errors import OutputError
from intraclip.lab.reproduce.figures_result import FigureResult
from intraclip.lab.reproduce.plan import ExperimentPlan
from intraclip.lab.reproduce.results import Scoring, table_result, write_curves
from intraclip.lab.reproduce.tables import Table, markdown, remarks, tables, write_page

FIGURE_NAMES: Mapping[str, Mapping[str, str]] = {
    "fig1": {"model-2": "TAP", "model-4": "ICA"},
    "fig3": {"model-1": "asynchronous", "model-2": "synchronous"},
}
"""Figure -> row -> what its runs are called in the picture."""


def write_table(
    one: ExperimentPlan, out: Path, scoring: Scoring, *, scale: str, recipe: str, say: Callable[[str], None]
) -> Path:
    """Score the runs of a table and write it.

    Returns:
        The Markdown file.
    """
    name = one.experiment.name
    result = table_result(one, scoring, scale=scale, recipe=recipe, say=say)
    write_json(out / f"{name}.json", result)
    write_curves(out / f"{name}-curves.csv", one.all_runs)
    write_text(out / f"{name}.md", markdown(result))
    section = {
        "title": result["title"],
        "about": result["about"],
        "tables": tables(result),
        "remarks": remarks(result),
        "pictures": [],
    }
    write_page(out / f"{name}.html", title=result["title"], sections=[section])
    return out / f"{name}.md"


def write_figure(one: ExperimentPlan, out: Path) -> Path:
    """Draw a figure from its runs and write it.

    Returns:
        The Markdown file.

    Raises:
        OutputError: a file cannot be written.
    """
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
    write_json(out / f"{experiment.name}.json", found.to_json_dict())
    write_text(out / f"{experiment.name}.md", found.to_markdown())
    header, rows, below = found.table()
    section = {
        "title": experiment.title,
        "about": experiment.about,
        "tables": [Table(title="Numbers", header=header, rows=rows, below=below)],
        "remarks": found.caption,
        "pictures": [{"source": _data_uri(path), "alt": found.title} for path in found.pictures],
    }
    write_page(out / f"{experiment.name}.html", title=experiment.title, sections=[section])
    return out / f"{experiment.name}.md"


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}") from None
