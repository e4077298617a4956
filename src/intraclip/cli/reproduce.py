"""`intraclip reproduce`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from intraclip.cli.common import print_json, print_table, progress_bar, say
from intraclip.lab.reproduce.scales import Settings

if TYPE_CHECKING:
    from intraclip.lab.reproduce.run import Plan


@dataclass(frozen=True, kw_only=True)
class ReproduceArgs(Settings):
    """Make a table or figure of the paper: train what is missing, reuse what is there, write Markdown and HTML.

    Experiments: table1, table2, table3, table4, fig1, fig3, or all of them with `all`; table2-imagenet (networks from
    ImageNet weights) and table3-nearest (the six methods nearest to ICA); and what the paper leaves open: ablation-ica,
    ablation-neck, ablation-sda, ablation-schedule, ablation-length, or `ablations`. After an interruption, even by
    SIGKILL, the same command continues from there.
    """

    experiment: tyro.conf.Positional[str]
    plan: bool = False
    """Print the runs, their commands and an estimate of the time, and stop."""
    json: bool = False
    """Print the result, or the plan, as JSON."""


def main(args: ReproduceArgs) -> int:
    """Run the command."""
    from intraclip.lab.reproduce.run import RunsFailed, plan, reproduce
    from intraclip.lab.view import View

    planned = plan(args)
    if args.plan:
        _print_plan(planned, as_json=args.json)
        return 0
    _announce(planned)
    try:
        _print_results(reproduce(planned, View(say=say, progress=progress_bar)), as_json=args.json)
    except RunsFailed as error:
        _print_results(error.written, as_json=args.json)
        raise
    return 0


def _announce(planned: Plan) -> None:
    from intraclip.core.numbers import duration

    missing = sum(run.state != "done" for run in planned.runs)
    say(
        f"{planned.settings.experiment} at scale {planned.scale.name} ({planned.scale.about}): "
        f"{len(planned.runs)} runs, {missing} to do, about {duration(planned.seconds)}"
    )
    if planned.left_out:
        say(f"left out, as --data does not hold what they need: {', '.join(planned.left_out)}")
    for sentence in planned.cautions:
        say(sentence)


def _print_plan(planned: Plan, *, as_json: bool) -> None:
    from intraclip.core.numbers import duration
    from intraclip.lab.reproduce.runner import command_lines

    # The first runs start in these places, the others wherever one becomes free.
    waiting = [run for run in planned.runs if run.state != "done"]
    commands = {
        run.folder: command_lines(run, planned.places[number % len(planned.places)])
        for number, run in enumerate(waiting)
    }
    if as_json:
        runs = [
            {
                "run": run.name,
                "state": run.state,
                "batches": run.steps,
                "seconds": round(planned.estimated[run.folder], 1),
                "commands": commands.get(run.folder, []),
            }
            for run in planned.runs
        ]
        rows = {p.experiment.name: [row.key for row in p.experiment.rows] for p in planned.plans}
        print_json(
            {
                "rows": rows,
                "runs": runs,
                "render_frames": planned.frames,
                "seconds": round(planned.seconds, 1),
                "cautions": planned.cautions,
            }
        )
        return
    times = {run.folder: duration(planned.estimated[run.folder]) for run in waiting}
    print_table(
        ["run", "state", "batches", "time"],
        [[run.name, run.state, f"{run.steps:,}", times.get(run.folder, "")] for run in planned.runs],
    )
    for source in planned.rendered:
        print(f"to render: {source.root}, {source.all_frames:,} frames")
    for lines in commands.values():
        print("\n".join(lines))
    for sentence in planned.cautions:
        print(sentence)
    work = sum(planned.estimated.values())
    print(
        f"about {duration(planned.seconds)} with {len(planned.places)} runs at a time "
        f"({duration(work)} of runs, measured on a few clips just now, and {planned.frames:,} frames to render)"
    )


def _print_results(written: Sequence[Path], *, as_json: bool) -> None:
    """The numbers of each experiment: as JSON, or in the width of a terminal."""
    from intraclip.lab.reproduce.tables import remarks, short_tables

    results = {path: json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in written}
    if as_json:
        print_json({path.stem: result for path, result in results.items()})
        return
    for path, result in results.items():
        print(result["title"])
        if "datasets" not in result:  # a figure: its numbers are few sentences
            print("\n".join(result["caption"]))
        else:
            for table in short_tables(result):
                print(table.title)
                print_table(table.header, table.rows)
            print("\n".join(remarks(result)))
        say(f"written: {path}, {path.with_suffix('.html').name}, {path.with_suffix('.json').name}")
