"""`intraclip report`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from intraclip.cli.common import read_data, say
from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class ReportArgs:
    """Write report.html of one run, or of several side by side.

    One self-contained page: numbers, curves, ranked lists, augmented clips, Grad-CAM and t-SNE.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders that `intraclip evaluate` has scored."""
    data: Path | None = None
    """Data folder; by default the one that the first run was evaluated on."""
    out: Path | None = None
    """File to write; by default report.html in the run folder, or for several runs report-with-OTHERS.html in the first
    one."""
    seed: int = bounded(0, 0)
    """Seed of the choice of queries and clips."""


def main(args: ReportArgs) -> int:
    """Run the command."""
    from intraclip.errors import ConfigError
    from intraclip.report.page import write_report
    from intraclip.report.records import read_record

    if not args.runs:
        raise ConfigError("intraclip report: name at least one run folder")
    names = [run.resolve().name for run in args.runs]
    if len(set(names)) < len(names):  # two folders called "run" would become one row
        names = [str(run) for run in args.runs]
    if len(set(names)) < len(names):
        raise ConfigError(f"a run is named twice: {', '.join(names)}")
    record = read_record(names[0], args.runs[0])
    scored = record.evaluation.get("data", {})
    data = args.data or (Path(scored["root"]) if "root" in scored else None)
    split = None
    if data is not None and data.is_dir():
        number = int(scored.get("split", record.recipe.data.split))
        split = read_data(data, split=number, direction=record.recipe.data.direction)
    else:
        say(f"the data folder {data} is not there: the page comes without pictures of people")
    page = write_report(
        args.out or args.runs[0] / _page_name(names),
        runs=dict(zip(names, args.runs, strict=True)),
        split=split,
        title=" and ".join(names),
        seed=args.seed,
        say=say,
    )
    say(f"the report is {page}")
    return 0


def _page_name(names: Sequence[str]) -> str:
    """A comparison has another name than the report of its first run, which it would replace.

    >>> _page_name(["a"]), _page_name(["a", "runs/b", "c"])
    ('report.html', 'report-with-runs-b-c.html')
    """
    others = "-".join(re.sub(r"[^\w.]+", "-", name).strip("-.") or "run" for name in names[1:])
    return f"report-with-{others[:80]}.html" if others else "report.html"
