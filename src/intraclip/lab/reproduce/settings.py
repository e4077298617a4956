"""What `reproduce` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intraclip.core.settings import bounded


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is run, how large and how often."""

    experiment: str
    """table1, table2, table2-imagenet, table3, table3-nearest, table4, fig1, fig3, all, ablation-..., ablations."""
    out: Path
    """Folder of everything that is written; experiments that share it share their runs."""
    scale: Literal["smoke", "cpu", "paper", "imagenet-cpu", "imagenet-gpu"] = "cpu"
    """Minutes on two cores, to see that it works (smoke), hours on two cores (cpu), the printed recipe on GPUs (paper),
    or from ImageNet weights (imagenet-cpu: hours; imagenet-gpu)."""
    data: tuple[Path, ...] = ()
    """Data sets in their published layouts, such as MARS and iLIDS-VID, or of your own; none: people are rendered."""
    finished: bool = False
    """Train nothing: write the tables of the runs that are done so far, and how many each row has."""
    seeds: int | None = bounded(None, 1)
    """Training seeds, from 0; by default 2 (smoke), 5 (cpu, imagenet-...), 3 (paper)."""
    splits: str | None = None
    """all, or numbers such as 0,1,2, for data sets with several; by default the first 2 (smoke, cpu) or all."""
    only: tuple[str, ...] = ()
    """Rows that are wanted, such as model-1 model-4; by default all. --plan --json names them."""
    recipe: str | None = None
    """Another recipe than the scale's: a shipped one or a TOML file."""
    jobs: int | None = bounded(None, 1)
    """Runs at a time; by default one a core, or one a GPU."""
    processes: int = bounded(1, 1)
    """Processes of each run, started by torchrun, each with a GPU of its own."""
    protocol: str | None = None
    """Protocol by name; by default the usual one of each data set."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance between embeddings."""

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Of splits; None for the scale's, empty for all."""
        from intraclip.lab.splits import parse_splits

        return None if self.splits is None else parse_splits(self.splits) or ()
