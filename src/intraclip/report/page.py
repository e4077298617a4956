"""One self-contained HTML page about one or several runs.

Everything is inside the file: pictures, plots and style. It opens without a network, on a phone, in the dark and on
paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from intraclip.core.devices import choose_device
from intraclip.core.extras import require_extra
from intraclip.errors import DataError
from intraclip.metrics.scores import RANKS
from intraclip.report.html import Shown, write_page
from intraclip.report.records import read_record
from intraclip.report.sections.augmentation import augmented
from intraclip.report.sections.making import making, recipe_differences
from intraclip.report.sections.networks import cams, load_networks, planes
from intraclip.report.sections.numbers import curves, main_protocol, score_tables, summary
from intraclip.report.sections.ranked import judge, ranked_lists
from intraclip.types import Split

NO_DATA = "This section needs the pictures, and the report was made without the data."


def write_report(
    out: Path,
    *,
    runs: Mapping[str, Path],
    split: Split | None,
    title: str,
    references: Mapping[str, Path] | None = None,
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
    note: str = "",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write the page.

    Args:
        out: the HTML file.
        runs: display name -> run folder; each must be trained and scored. The order is the page's.
        split: the data the runs were scored on. None, or data whose frames cannot be read, leaves out the sections
            that show pictures, with a sentence why.
        title: of the page.
        references: display name -> folder of a scored network that was trained elsewhere, on other people: it stands
            before the runs in the table, the CMC and the ranked lists, and nowhere else.
        baselines: display name -> scores as of `Scores.to_json_dict`.
        note: a sentence below the title.
        seed: of every choice made here: queries, clips, people, t-SNE.
        say: told what is being made.

    Raises:
        DataError: no runs, or one that is not scored (the message names the command) or damaged.
    """
    for module in ("jinja2", "matplotlib", "sklearn", "captum"):
        # all of them now, not one after a minute's work
        require_extra(module, extra="report", purpose="the report")
    markup = require_extra("markupsafe", extra="report", purpose="the report").Markup
    if not runs:
        raise DataError("a report needs at least one run, got none")
    say("reading the runs")
    records = [read_record(name, folder) for name, folder in runs.items()]
    others = [read_record(name, folder) for name, folder in (references or {}).items()]
    shown = [*others, *records]
    given = dict(baselines or {})
    protocol = main_protocol(shown, split)
    judged = judge(shown, protocol=protocol)
    networks = cache(lambda: load_networks(records, choose_device("auto")))
    of_data: tuple[tuple[str, str, Callable[[Split], Shown]], ...] = (
        (
            "ranked",
            "collecting ranked lists",
            lambda data: ranked_lists(shown, judged, data, protocol=protocol, seed=seed),
        ),
        ("augmented", "augmenting clips", lambda data: augmented(data, records[0].recipe, seed=seed)),
        ("cams", "looking where the networks look", lambda data: cams(networks(), data, seed=seed)),
        ("planes", "laying frame features on a plane", lambda data: planes(networks(), data, seed=seed)),
    )
    say("drawing the curves")
    context: dict[str, Any] = {
        "title": title,
        "note": note,
        "seed": seed,
        "protocol": protocol,
        "ranks": RANKS,
        "summary": summary(shown, given, judged, protocol=protocol, seed=seed, references=len(others)),
        "tables": score_tables(shown, given, first=protocol),
        "curves": curves(shown, given, protocol=protocol),
        "making": [making(record) for record in records],
        "differences": recipe_differences(records),
        "run_names": [record.name for record in records],
        "markup": markup,
    }
    for name, doing, make in of_data:
        context[name], context[f"{name}_missing"] = None, NO_DATA
        if split is not None:
            say(doing)
            try:
                context[name] = make(split)
            except DataError as error:  # data that moved away must not cost the page
                context[f"{name}_missing"] = f"This section is left out: {error}."
    return write_page(out, "page.html.j2", **context)
