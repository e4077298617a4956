"""The files of an experiment whose runs are all done: Markdown, HTML, JSON, curves and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intraclip.core.files import write_json, write_text
from intraclip.errors import OutputError
from intraclip.lab.reproduce.figures import FigureResult
from intraclip.lab.reproduce.plan import ExperimentPlan
from intraclip.lab.reproduce.results import table_result, write_curves
from intraclip.lab.reproduce.settings import Settings
from intraclip.lab.reproduce.tables import Page, page
from intraclip.report.html import write_page

FIGURE_NAMES: Mapping[str, Mapping[str, str]] = {
    "fig1": {"model-2": "TAP", "model-4": "ICA"},
    "fig3": {"model-1": "asynchronous", "model-2": "synchronous"},
}
"""Figure -> row -> what its runs are called in the picture."""


def write_table(one: ExperimentPlan, settings: Settings, *, recipe: str, say: Callable[[str], None]) -> Path:
    """Score the runs of a table and write it; returns the Markdown file."""
    name, out = one.experiment.name, settings.out
    result = table_result(one, settings, recipe=recipe, say=say)
    write_curves(out / f"{name}-curves.csv", one.all_runs)
    return write_result(out / f"{name}.md", page(result), result)[0]


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
    return write_result(out / f"{experiment.name}.md", found.page(experiment.about), found.to_json_dict())[0]


def write_result(file: Path, shown: Page, result: Mapping[str, Any]) -> list[Path]:
    """Write a result as Markdown and JSON, and as one self-contained HTML page where the extra ``report`` is there.

    `file` is the Markdown file; the others lie beside it. Returns all of them.
    """
    files = [file, file.with_suffix(".json")]
    write_text(file, shown.markdown())
    write_json(files[1], result)
    if find_spec("jinja2") is not None:
        files.append(
            write_page(
                file.with_suffix(".html"),
                "page.html.j2",
                package="intraclip.lab.reproduce",
                page=shown,
                pictures=[_data_uri(path) for path in shown.pictures],
            )
        )
    return files


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}") from None
