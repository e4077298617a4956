"""`intraclip demo`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from intraclip.cli.common import ForPrograms, print_json, progress_bar, say, training_bar
from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class DemoArgs(ForPrograms):
    """Render a small benchmark, train the paper's models 1 and 4 on it, and write a report to look at.

    Beside them stands what `base`, the network in the package, answers. Takes a few minutes on two cores and needs no
    data, no GPU and no download; the models start from ImageNet where the `weights` extra is installed.
    """

    out: Path
    """Folder for the rendered people, the runs and report.html."""
    seed: int = bounded(0, 0)
    """Seed of people, weights and training."""
    resume: bool = False
    """Continue an interrupted demo in --out; what is finished is kept."""


def main(args: DemoArgs) -> int:
    """Run the command."""
    from intraclip.lab.demo import run_demo
    from intraclip.lab.view import View

    started = time.perf_counter()
    view = View(say=say, training=training_bar, progress=progress_bar)
    result = run_demo(args.out, view, seed=args.seed, resume=args.resume)
    if args.json:
        print_json({"report": str(result.report), "scores": result.scores})
        return 0
    first = next(iter(result.scores.values()))
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(
        f"\nTrained on {result.identities} people, tested on {result.tracklets} tracklets of others "
        f"({first['queries']} queries, protocol {first['protocol']}, {first['distance']} distance, seed {args.seed}):"
    )
    width = max(map(len, result.scores))
    for name, scores in result.scores.items():
        print(f"  {name:<{width}}  rank-1 {100 * scores['rank1']:5.1f}  mAP {100 * scores['mAP']:5.1f}")
    print(f"Done in {minutes} min {seconds} s. Open the report in a browser: {result.report}")
    return 0
