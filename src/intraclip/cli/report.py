"""`intraclip report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from intraclip.cli.common import parse, read_data, say


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
    """File to write; report.html in the first run folder by default."""
    seed: int = 0
    """Seed of the choice of queries and clips."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(ReportArgs, argv, command="report")
    import json

    from intraclip.config_io import load_recipe
    from intraclip.errors import ConfigError
    from intraclip.report.page import write_report

    if not args.runs:
        raise ConfigError("intraclip report: name at least one run folder")
    evaluation = args.runs[0] / "evaluation.json"
    data, number = args.data, 0
    if evaluation.is_file():
        scored = json.loads(evaluation.read_text(encoding="utf-8"))["data"]
        data, number = data or Path(scored["root"]), int(scored["split"])
    split = None
    if data is not None and data.is_dir():
        config = args.runs[0] / "config.toml"
        direction = load_recipe(str(config)).data.direction if config.is_file() else "first-half-tests"
        split = read_data(data, split=number, direction=direction)
    else:
        say(f"the data folder {data} is not there: the page comes without pictures of people")
    page = write_report(
        args.out or args.runs[0] / "report.html",
        runs={run.name: run for run in args.runs},
        split=split,
        title=" and ".join(run.name for run in args.runs),
        seed=args.seed,
        progress=say,
    )
    say(f"the report is {page}")
    return 0
