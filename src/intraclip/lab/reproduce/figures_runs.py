"""The trained runs behind a figure: opened, checked against the data, matched by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from intraclip.config import Recipe
from intraclip.errors import DataError
from intraclip.models.checkpoint import Checkpoint, load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.types import Split


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One training of one kind.

    Attributes:
        checkpoint: what its last checkpoint says; the weights are read when they are needed.
    """

    folder: Path
    checkpoint: Checkpoint

    @property
    def recipe(self) -> Recipe:
        """Resolved recipe of the run."""
        return self.checkpoint.recipe

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.recipe.seed

    @property
    def pids(self) -> tuple[int, ...]:
        """Training identities; class i is pid `pids[i]`."""
        return self.checkpoint.pids

    def load(self, device: torch.device) -> ClipEmbedder:
        """The network, in evaluation mode."""
        return load_model(self.checkpoint, device=device)


Kinds = dict[str, list[SeedRun]]
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
        found = [SeedRun(folder=f, checkpoint=read_checkpoint(model_file(f))) for f in folders]
        seeds = [run.seed for run in found]
        if len(set(seeds)) < len(seeds):
            raise DataError(f"the runs of {name} have seeds {seeds}; each seed may occur once")
        for run in found:
            known = sorted(queried & set(run.pids))
            if known:
                raise DataError(
                    f"{run.folder} was trained on {len(known)} of the people that {split.dataset} (split "
                    f"{split.index}) in {split.root} tests, such as pid {known[0]}; give the data and split it was "
                    "trained with"
                )
        kinds[name] = found
    shared = set.intersection(*({run.seed for run in found} for found in kinds.values()))
    order = [run.seed for run in next(iter(kinds.values())) if run.seed in shared]
    place = {seed: number for number, seed in enumerate(order)}
    return {n: sorted(found, key=lambda run: place.get(run.seed, len(place))) for n, found in kinds.items()}
