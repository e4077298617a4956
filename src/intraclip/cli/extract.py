"""`intraclip extract`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from intraclip.cli.common import parse, print_json, progress_bar, read_data_of_run, say


@dataclass(frozen=True, kw_only=True)
class ExtractArgs:
    """Write the embeddings of a data folder's test tracklets to an .npz file.

    The file holds features [N, D], pids, camids, is_query and names.
    """

    run: tyro.conf.Positional[Path]
    """Run folder, or a checkpoint file."""
    data: Path
    """Data folder: a benchmark, or what `intraclip ingest` wrote."""
    out: Path
    """File to write, ending in .npz."""
    layout: str = "auto"
    """Layout of the data folder."""
    split: int | None = None
    """Number of the split; by default the one the run was trained on."""
    device: str | None = None
    """auto, cpu, cuda or cuda:N; by default as in the recipe."""
    force: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print what was written as JSON."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(ExtractArgs, argv, command="extract")
    from intraclip.engine.embeddings_io import save_embeddings
    from intraclip.engine.extract import embed_split, load_run
    from intraclip.errors import OutputError

    if args.out.exists() and not args.force:
        raise OutputError(f"{args.out} exists; choose another --out, or add --force to replace it")
    if args.out.suffix != ".npz":
        raise OutputError(f"{args.out}: embeddings are written as .npz; choose such a name")
    model, recipe = load_run(args.run, device=args.device)
    split = read_data_of_run(args.data, recipe, layout=args.layout, split=args.split)
    with progress_bar("embedding") as update:
        embeddings = embed_split(model, split, recipe, progress=update)
    save_embeddings(args.out, embeddings)
    n, d = embeddings.features.shape
    if args.json:
        print_json({"file": str(args.out), "tracklets": n, "size": d, "queries": len(split.query)})
    else:
        say(f"{n} embeddings of size {d} are in {args.out}")
    return 0
