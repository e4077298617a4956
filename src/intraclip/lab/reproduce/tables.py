"""Tables for people, of plain values: for Markdown, HTML and the terminal."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intraclip.core.files import write_json, write_text
from intraclip.core.numbers import duration
from intraclip.errors import OutputError
from intraclip.lab.reproduce.experiments import MEASURES
from intraclip.lab.reproduce.nuisances import CLEAN
from intraclip.losses import LOSSES
from intraclip.report.html import write_page

HEADINGS = {
    "mars": "MARS",
    "ilids-vid": "iLIDS-VID",
    "prid2011": "PRID-2011",
    "lsvid": "LS-VID",
    "folder": "own tracklets",
}
VERDICTS = {"holds": "yes", "reversed": "no, the reverse", "open": "not shown"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text in rows and columns."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a person sees of a result: as Markdown, and as HTML by `page.html.j2`.

    Attributes:
        remarks: how the numbers were taken: a sentence or a few each.
        pictures: files beside the page.
    """

    title: str
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]
    about: str = ""
    pictures: tuple[Path, ...] = ()

    def markdown(self) -> str:
        """All of it as Markdown."""
        lines = [f"# {self.title}", "", *([self.about, ""] if self.about else [])]
        lines += [f"![{self.title}]({path.name})\n" for path in self.pictures]
        for table in self.tables:
            lines += [f"**{table.title}**", "", *_markdown_table(table), ""]
            lines += [f"{sentence}\n" for sentence in table.below]
        lines += [f"{remark}\n" for remark in self.remarks]
        return "\n".join(lines)


def write_result(file: Path, shown: Page, result: Mapping[str, Any]) -> Path:
    """Write a result as Markdown and JSON, and as one self-contained HTML page where the extra ``report`` is there.

    `file` is the Markdown file, which is returned; the others lie beside it.
    """
    write_text(file, shown.markdown())
    write_json(file.with_suffix(".json"), result)
    if find_spec("jinja2") is not None:
        write_page(
            file.with_suffix(".html"),
            "page.html.j2",
            package="intraclip.lab.reproduce",
            page=shown,
            pictures=[_data_uri(path) for path in shown.pictures],
        )
    return file


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}") from None


def page(result: Mapping[str, Any]) -> Page:
    """What is shown of the result of a table."""
    return Page(
        title=result["title"],
        about=result["about"],
        tables=tuple(tables(result)),
        remarks=tuple(remarks(result)),
    )


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The tables of a result: one of scores, one of training and one of claims for each data set."""
    found = []
    for layout, data in result["datasets"].items():
        found += [
            _scores(result, layout, data),
            _training(result, layout, data),
            *_curves(result, layout, data),
        ]
        if result["claims"]:
            found.append(_claims(result, layout))
        if data.get("nuisances"):
            found += _nuisances(result, data["nuisances"])
    return found


def short_tables(result: Mapping[str, Any]) -> list[Table]:
    """The same for a terminal of 120 columns: no intervals of scores, gains by the deciding measure."""
    shown = list(dict.fromkeys(("rank1", result["measured_by"])))
    found = []
    for layout, data in result["datasets"].items():
        found.append(_scores(result, layout, data, shown, short=True))
        if result["claims"]:
            found.append(_claims(result, layout, short=True))
    return found


def remarks(result: Mapping[str, Any]) -> list[str]:
    """How the numbers were taken: a sentence or a few each."""
    seeds, claims = result["seeds"], len(result["claims"])
    lines = [
        f"Scale {result['scale']}, recipe {result['recipe']}, training seeds {', '.join(map(str, seeds))}, "
        f"{result['distance']} distance; {result['date']}.",
        "In percent. ± is the standard deviation over trainings, brackets hold the 95 % interval of their mean "
        "(Student's t). "
        + " ".join(_trainings(layout, data, seeds) for layout, data in result["datasets"].items()),
    ]
    if claims:
        lines.append(
            "A gain counts as shown when its interval lies above 0 both over trainings and over test people "
            "(bootstrap); p over people is of a flip test."
        )
    if claims > 1:
        lines[-1] = (
            f"{lines[-1][:-1]}, adjusted for the {claims} claims of a table (Holm 1979). Nothing else is corrected for "
            "their number: not the intervals, so not what counts as shown, and not p over trainings."
        )
    chance = ", ".join(
        f"{_trained_on(layout, data)} ln {data['training_identities']} = {data['chance_identity_loss']:.2f}"
        for layout, data in result["datasets"].items()
    )
    lines.append(
        "Accuracy, identity loss and triplet loss are of the last epoch, on augmented training batches: they cannot be "
        "compared between augmentation modes. A model that knows nothing has the identity loss of chance "
        f"({chance}); one near it is undertrained, and its scores say little about the method."
    )
    for machine in result["machines"]:
        lines.append(
            f"{machine['runs']} runs on {machine['device'] if machine['device'] != 'cpu' else machine['processor']} "
            f"({machine['cores']} cores, threads of a run: {machine['threads']}), PyTorch {machine['torch']}, "
            f"commit {machine['commit'] or 'unknown'} (where it was last started)."
        )
    return lines + [f"Note: {note}." for note in result["notes"]]


def _markdown_table(table: Table) -> list[str]:
    lines = (table.header, ["---"] * len(table.header), *table.rows)
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


Row = Mapping[str, Any]


def _rows_of(result: Mapping[str, Any], layout: str) -> list[tuple[Row, Row | None, Row]]:
    """Rows that say something about a data set: the row, what was measured, what the paper prints."""
    rows = (
        (row, row["results"].get(layout), row["printed"].get(layout, {})) for row in result["rows"].values()
    )
    return [(row, own, printed) for row, own, printed in rows if own is not None or printed]


def _without_empty(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without the columns in which no row has anything: the paper prints no mAP on iLIDS-VID."""
    kept = [i for i in range(len(header)) if i == 0 or any(row[i] for row in rows)]
    return Table(
        title=title,
        header=tuple(header[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
    )


def _scores(
    result: Mapping[str, Any],
    layout: str,
    data: Mapping[str, Any],
    shown: Sequence[str] = tuple(MEASURES),
    *,
    short: bool = False,
) -> Table:
    """Scores beside the paper's; short without intervals, and with the training."""
    rows = []
    for row, own, printed in _rows_of(result, layout):
        cells = [row["label"]]
        for measure in shown:
            text = sample_text(own["measures"][measure]) if own else ""
            cells.append(text.partition(" (")[0] if short else text)
            cells.append(f"{printed[measure]:.1f}" if measure in printed else "")
        cells += _training_cells(own) if short else ()
        rows.append(cells if own else [cells[0], "not trained", *cells[2:]])
    header = ["", *(text for m in shown for text in (MEASURES[m], "paper"))]
    header += ["training", "accuracy", *LOSS_COLUMNS] if short else []
    return _without_empty(_dataset_title(layout, data), header, rows)


def _training(result: Mapping[str, Any], layout: str, data: Mapping[str, Any]) -> Table:
    rows = [[row["label"], *_training_cells(own)] for row, own, _ in _rows_of(result, layout) if own]
    titles = {name: LOSSES.load(name).title.lower() for name in LOSS_COLUMNS}
    titles["identity"] += f" (chance {data['chance_identity_loss']:.2f})"
    return _without_empty("Training, last epoch", ["", "time", "accuracy", *titles.values()], rows)


LOSS_COLUMNS = sorted(LOSSES, key=lambda name: name != "identity")
"""The identity loss stands beside the accuracy; a column without values is left out."""


def _training_cells(own: Row | None) -> tuple[str, ...]:
    """Time, accuracy, and the losses."""
    if own is None:
        return ("",) * (2 + len(LOSS_COLUMNS))
    time = own["seconds"]
    known = (own.get(f"training_{name}") for name in ("accuracy", *LOSS_COLUMNS))
    return "" if time is None else duration(time), *("" if v is None else f"{v:.2f}" for v in known)


def _trained_on(layout: str, data: Mapping[str, Any]) -> str:
    name = str(data.get("trained_on", layout)).removeprefix("benchmark-")
    return HEADINGS.get(name, name)


def _trainings(layout: str, data: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """What n is."""
    splits, name = len(data["trained_splits"]), _trained_on(layout, data)
    if splits == 1:
        return f"{name}: n = {len(seeds)}, the trainings are the seeds of one split."
    averaged = (
        f", the {len(seeds)} seeds of each averaged first, as they share its data" if len(seeds) > 1 else ""
    )
    return (
        f"{name}: n = {splits}, the trainings are the splits{averaged}; splits share people, so their intervals are "
        "widened (Nadeau & Bengio 2003)."
    )


def _claims(result: Mapping[str, Any], layout: str, *, short: bool = False) -> Table:
    """What each claim gains; short by the deciding measure alone, without the paper's gain."""
    decisive = result["measured_by"]
    shown = [decisive] if short else list(dict.fromkeys((decisive, "rank1")))
    header = ["claim"]
    for measure in shown:
        header += [f"{MEASURES[measure]}, over trainings", "over people"]
    header += ["shown"] if short else ["the paper's gain", f"shown (by {MEASURES[decisive]})"]
    rows = []
    for claim in result["claims"]:
        found = claim["results"].get(layout, {})
        cells = [claim["text"]]
        for measure in shown:
            one = found.get(measure)
            cells += [_difference(one["trainings"]), _people(one["people"])] if one else ["", ""]
        cells += [] if short else [_paper_gain(result["rows"], claim, layout)]
        untrained = claim.get("untrained", {}).get(layout, ())
        cells.append(_verdict(found[decisive], untrained) if decisive in found else "")
        rows.append(tuple(cells))
    return Table(title="Gains", header=tuple(header), rows=tuple(rows))


def _nuisances(result: Mapping[str, Any], told: Mapping[str, Any]) -> list[Table]:
    """Tables of mAP by what disturbs the query, and of what each claim gains there."""
    groups = list(told["groups"])
    header = ["", *(f"{group} ({count['queries']:,} queries)" for group, count in told["groups"].items())]
    rows = [
        (result["rows"][key]["label"], *(sample_text(of[group]) for group in groups))
        for key, of in told["rows"].items()
    ]
    found = [Table(title="mAP by what disturbs the query", header=tuple(header), rows=tuple(rows))]
    lines = []
    for claim in told["claims"]:
        cells = [claim["text"]]
        for group in groups:
            gain = claim["groups"].get(group)
            cells.append(f"{_difference(gain['trainings'])}; people {_ends(gain['people'])}" if gain else "")
            if group in claim["more"]:
                cells.append(_difference(claim["more"][group]))
            elif group != CLEAN:
                cells.append("")
        lines.append(tuple(cells))
    header = [""]
    for group in groups:
        header += [group] if group == CLEAN else [group, f"{group}: more than {CLEAN}"]
    below = (
        "By the renderer's ground truth of the query's tracklet; the gallery is the same for all, and a query with two "
        "nuisances is in two groups. Gains in mAP over trainings, with the interval over people; the last columns are "
        "differences of gains, over trainings.",
    )
    if lines:
        found.append(
            Table(
                title="Gains by what disturbs the query", header=tuple(header), rows=tuple(lines), below=below
            )
        )
    return found


def _ends(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f}"


def _verdict(gain: Mapping[str, Any], untrained: Sequence[str]) -> str:
    if untrained:
        return f"no result: {' and '.join(untrained)} hardly trained"
    if gain["trainings"]["deviation"] is None:
        return "one training"
    return VERDICTS[gain["verdict"]]


def _curves(result: Mapping[str, Any], layout: str, data: Mapping[str, Any]) -> list[Table]:
    """The training curve of every row: its identity loss by epoch."""
    curves = [(row["label"], own.get("curve")) for row, own, _ in _rows_of(result, layout) if own]
    epochs = sorted({int(epoch) for _, curve in curves for epoch, _ in curve or ()})
    if not epochs:
        return []
    rows = []
    for label, curve in curves:
        by_epoch = {int(epoch): f"{loss:.2f}" for epoch, loss in curve or ()}
        rows.append((label, *(by_epoch.get(epoch, "") for epoch in epochs)))
    title = f"Identity loss by epoch (chance {data['chance_identity_loss']:.2f}), mean over trainings"
    return [Table(title=title, header=("", *map(str, epochs)), rows=tuple(rows))]


def _dataset_title(layout: str, data: Mapping[str, Any]) -> str:
    name = HEADINGS.get(layout, layout)
    if data["rendered"] is not None:
        made = data["rendered"]
        name = f"Rendered people in the layout of {name} ({made['identities']} people, {made['cameras']} cameras)"
    trained = f"trained on {data['trained_on']}, tested on " if "trained_on" in data else ""
    splits = f", {len(data['splits'])} splits" if len(data["splits"]) > 1 else ""
    return (
        f"{trained}{name}{splits}: protocol {data['protocol']}, {data['queries']:,} queries of "
        f"{data['test_people']:,} people, {data['gallery']:,} in the gallery{' of each split' if splits else ''}"
    )


def sample_text(found: Mapping[str, Any]) -> str:
    """A share and what is known of its spread, in percent.

    >>> sample_text({"mean": 0.5, "deviation": 0.02, "low": 0.45, "high": 0.55})
    '50.0 ± 2.0 (45.0 to 55.0)'
    """
    text = f"{100 * found['mean']:.1f}"
    if found["deviation"] is not None:
        text += f" ± {100 * found['deviation']:.1f}"
    if found.get("low") is not None:
        text += f" ({ends_text(found['low'], found['high'])})"
    return text


def ends_text(low: float, high: float) -> str:
    """An interval of a share, in percent."""
    # Student's interval knows nothing of the ends of the scale; few trainings reach beyond them.
    return f"{max(0.0, 100 * low):.1f} to {min(100.0, 100 * high):.1f}"


def _difference(found: Mapping[str, Any]) -> str:
    text = f"{100 * found['mean']:+.1f}"
    if found["low"] is not None:
        text += f" ({_ends(found)}; {p_text(found['p_value'])})"
    return text


def _people(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{_ends(found)}; {p_text(found['p_holm'])}"


def p_text(p_value: float) -> str:
    """A p-value as it is printed.

    >>> p_text(0.03), p_text(0.00012)
    ('p 0.03', 'p < 0.001')
    """
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.2g}"


def _paper_gain(rows: Mapping[str, Mapping[str, Any]], claim: Mapping[str, Any], layout: str) -> str:
    better, worse = (rows[claim[key]]["printed"].get(layout, {}) for key in ("better", "worse"))
    return ", ".join(
        f"{MEASURES[m]} {better[m] - worse[m]:+.1f}" for m in ("rank1", "mAP") if m in better and m in worse
    )
