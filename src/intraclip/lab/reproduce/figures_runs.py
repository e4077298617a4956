"""The trained runs behind a figure: opened, checked against the data, matched by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from intraclip.errors import DataError
from intraclip.models.checkpoint import Checkpoint, model_file, read_checkpoint
from intraclip.types import Split

SEED = 0
"""Of everything that a figure draws at random."""

Kinds = dict[str, list[Checkpoint]]
"""Kind of run, such as TAP -> its seeds; the first kind is what the others are compared with."""


def open_runs(runs: Mapping[str, Sequence[Path]], split: Split) -> Kinds:
    """Open every run and look whether they can be compared on this data.

    Where kinds share a seed, each starts with the same one: pictures then show runs of one seed.

    Raises:
        DataError: fewer than two kinds, a kind without runs, one seed twice, or a run trained on people of test.
    """
    if len(runs) < 2:
        raise DataError(f"a figure compares two kinds of run, got {', '.join(runs) or 'none'}")
    queried = {t.pid for t in split.query}
    kinds: Kinds = {}
    for name, folders in runs.items():
        if not folders:
            raise DataError(f"there is no run of {name}; give at least one run folder")
        found = [read_checkpoint(model_file(f)) for f in folders]
        seeds = [run.recipe.seed for run in found]
        if len(set(seeds)) < len(seeds):
            raise DataError(f"the runs of {name} have seeds {seeds}; each seed may occur once")
        for run in found:
            known = sorted(queried & set(run.pids))
            if known:
                raise DataError(
                    f"{run.path.parent} was trained on {len(known)} of the people that {split.dataset} (split "
                    f"{split.index}) in {split.root} tests, such as pid {known[0]}; give the data and split it was "
                    "trained with"
                )
        kinds[name] = found
    shared = set.intersection(*({run.recipe.seed for run in found} for found in kinds.values()))
    order = [run.recipe.seed for run in next(iter(kinds.values())) if run.recipe.seed in shared]
    place = {seed: number for number, seed in enumerate(order)}
    return {
        n: sorted(found, key=lambda run: place.get(run.recipe.seed, len(place))) for n, found in kinds.items()
    }
