"""`intraclip evaluate`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from intraclip.cli.common import (
    ForPrograms,
    ReadsData,
    print_json,
    print_scores,
    progress_bar,
    read_data_of_run,
    say,
)
from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class EvaluateArgs(ReadsData, ForPrograms):
    """Score a run on the test tracklets of a data folder: CMC rank-1/5/10/20, mAP and mINP.

    Writes evaluation.json and embeddings.npz into the run folder.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, or a checkpoint file."""
    data: Path
    """Data folder."""
    protocol: str | None = None
    """Protocol by name, `all` for every one; by default the usual one of the data set."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance between embeddings."""
    sampling: Literal["dense", "even", "all"] | None = None
    """Test clips: every clip, one of evenly spaced frames, or all frames; by default as in the recipe."""
    engine: str | None = None
    """What runs the network: torch, onnxruntime, openvino, or auto for the fastest exact one that is installed; torch
    by default."""
    workers: int | None = bounded(None, 0)
    """Processes that decode frames; by default as in the recipe."""
    device: str | None = None
    """auto, cpu, cuda or cuda:N; by default as in the recipe."""


def main(args: EvaluateArgs) -> int:
    """Run the command."""
    from intraclip.core.process_group import open_ranks
    from intraclip.embed.evaluate import evaluate
    from intraclip.models.checkpoint import model_file, read_checkpoint

    recipe = read_checkpoint(model_file(args.model)).recipe
    with open_ranks() as ranks:
        first = ranks.leads
        split = read_data_of_run(args.data, recipe, layout=args.layout, split=args.split)
        with progress_bar("embedding") if first else nullcontext() as update:
            result = evaluate(
                args.model,
                data=split,
                protocol=args.protocol,
                distance=args.distance,
                sampling=args.sampling,
                engine=args.engine,
                workers=args.workers,
                device=ranks.device_name(args.device or recipe.device) if ranks.size > 1 else args.device,
                progress=update,
                ranks=ranks,
            )
    if not first:
        return 0
    if args.json:
        print_json(result)
        return 0
    print_scores(result)
    if result["unreadable_frames"]:
        found = result["unreadable_frames"]
        say(f"{len(found):,} frames could not be read and were left out, such as: {found[0]}")
    if args.model.is_dir():
        say(f"written: {args.model / 'evaluation.json'}, {args.model / 'embeddings.npz'}")
    return 0
