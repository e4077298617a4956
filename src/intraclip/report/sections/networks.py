"""The trained networks that a page looks into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.report.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A run's network, in evaluation mode."""

    run: RunRecord
    model: ClipEmbedder
    pids: tuple[int, ...]


def load_networks(runs: Sequence[RunRecord], device: torch.device) -> list[Loaded]:
    """Load the network of every run."""
    loaded = []
    for run in runs:
        checkpoint = read_checkpoint(model_file(run.folder))
        loaded.append(Loaded(run=run, model=load_model(checkpoint, device=device), pids=checkpoint.pids))
    return loaded
