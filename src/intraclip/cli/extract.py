"""`intraclip extract`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from intraclip.cli.common import (
    ForPrograms,
    ReadsData,
    print_json,
    progress_bar,
    read_data_of_run,
    say,
    say_some,
)
from intraclip.cli.network import NetworkByPlace, extract_settings, or_default
from intraclip.core.settings import bounded

if TYPE_CHECKING:
    from intraclip.core.distributed import Ranks
    from intraclip.embed.extract_job import Extracted
    from intraclip.embed.extractors import Extractor, ExtractSettings
    from intraclip.types import Split


@dataclass(frozen=True, kw_only=True)
class ExtractArgs(NetworkByPlace, ReadsData, ForPrograms):
    """Write the embeddings of a data folder's test tracklets to a file.

    The file holds features [N, D], pids, camids, is_query, names, times where they are known, and the fingerprint of
    what made them; `intraclip score` reads it. Under torchrun the processes share the work.
    """

    data: Path
    """Data folder: a benchmark, or what `intraclip ingest` wrote."""
    out: Path
    """File to write, ending in .npz or .parquet."""
    sampling: Literal["dense", "even", "all"] | None = None
    """Test clips of a tracklet; by default as in the recipe."""
    batch_frames: int | None = bounded(None, 1)
    """Frames in a batch, which bounds memory; by default as in the recipe."""
    workers: int | None = bounded(None, 0)
    """Processes that decode frames; by default as in the recipe."""
    on_unreadable: Literal["stop", "skip"] | None = None
    """Unreadable frames, and tracklets without a usable embedding: stop with an error, or leave them out and list
    them. By default as the recipe says about unreadable frames."""
    resume: bool = False
    """Go on with an interrupted extraction, whose parts are in FILE.parts."""
    force: bool = False
    """Replace the file if it exists; delete parts unless --resume is said."""
    ray: str | None = None
    """Share the work over a Ray cluster: its address, or `local` for this machine."""


def main(args: ExtractArgs) -> int:
    """Run the command."""
    from intraclip.core.process_group import open_ranks
    from intraclip.embed.embeddings_writer import check_embeddings_name
    from intraclip.embed.network import is_ours
    from intraclip.errors import OutputError
    from intraclip.models.checkpoint import model_file, read_checkpoint

    check_embeddings_name(args.out)
    args = or_default(args)
    if args.out.exists() and not args.force and not args.resume:
        raise OutputError(f"{args.out} exists; choose another --out, or add --force to replace it")
    with open_ranks() as ranks:
        device = args.device
        if ranks.size > 1 and (args.engine or "torch") == "torch" and args.model and is_ours(args.model):
            device = ranks.device_name(device or read_checkpoint(model_file(args.model)).recipe.device)
        network = replace(args, device=device).open_network(sampling=args.sampling)
        split = read_data_of_run(args.data, network.recipe, layout=args.layout, split=args.split)
        settings = extract_settings(
            network.settings,
            workers=args.workers,
            on_unreadable=args.on_unreadable,
            max_frames=args.batch_frames,
        )
        extracted = _extract(args, network.extractor, settings, split, ranks)
    if extracted is not None:
        _tell(args, extracted, queries=len(split.query))
    return 0


def _extract(
    args: ExtractArgs, extractor: Extractor, settings: ExtractSettings, split: Split, ranks: Ranks
) -> Extracted | None:
    from intraclip.embed.extract_job import extract_split

    with progress_bar("frames", unit="frames") if ranks.leads else nullcontext() as update:
        if args.ray is not None:
            from intraclip.embed.extract_ray import extract_with_ray

            return extract_with_ray(
                partial(_open, args),
                split,
                settings,
                args.out,
                resume=args.resume,
                force=args.force,
                address=args.ray,
                progress=update,
            )
        return extract_split(
            extractor,
            split,
            settings,
            args.out,
            resume=args.resume or ranks.restarted,
            force=args.force,
            ranks=ranks,
            progress=update,
        )


def _open(args: ExtractArgs) -> Extractor:
    """The network of the flags, in whichever process calls it."""
    return args.open_network().extractor


def _tell(args: ExtractArgs, extracted: Extracted, *, queries: int) -> None:
    if extracted.unreadable:
        say(f"{len(extracted.unreadable):,} frames could not be read and were left out:")
        say_some(extracted.unreadable)
    if extracted.failures:
        say(f"{len(extracted.failures):,} tracklets are missing from the file:")
        say_some(extracted.failures)
    if args.json:
        told = {name: value for name, value in vars(extracted).items() if name != "out"}
        print_json({"file": str(args.out), "queries": queries, **told})
    else:
        say(f"{extracted.tracklets} embeddings of size {extracted.size} are in {args.out}")
