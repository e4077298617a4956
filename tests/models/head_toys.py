"""Tiny tasks on feature maps whose mean over time and space says nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.config import ModelConfig
from intraclip.models.embedder import build_head
from intraclip.models.heads.base import Head

FEATURES, FRAMES, HEIGHT, WIDTH = 16, 4, 4, 2

Toy = Callable[[int, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
"""Number of clips and generator -> maps ``[B, T, F, h, w]`` and labels ``[B]``."""


def _looks(count: int) -> torch.Tensor:
    """Vectors ``[count, F]`` that are fixed, not negative and far apart."""
    looks = torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(5)).relu()
    return 4 * looks / looks.norm(dim=1, keepdim=True)


def _noise(count: int, generator: torch.Generator) -> torch.Tensor:
    return 0.1 * torch.randn(count, FRAMES, FEATURES, HEIGHT, WIDTH, generator=generator)


def order(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Two people show the same four looks; one shows them in the reverse order."""
    labels = torch.randint(0, 2, (count,), generator=generator)
    looks = _looks(FRAMES)
    frames = torch.where(labels.view(-1, 1, 1).bool(), looks.flip(0), looks)
    return (frames[..., None, None] + _noise(count, generator)).relu(), labels


def quality(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Each frame shows another of four people, so that every clip shows all; one frame is clean, and it counts.

    The others are covered by an occluder from the second stripe down.
    """
    labels = torch.randint(0, FRAMES, (count,), generator=generator)
    people = torch.rand(count, FRAMES, generator=generator).argsort(dim=1)
    maps = torch.zeros(count, FRAMES, FEATURES, HEIGHT, WIDTH)
    shirts = _looks(FRAMES)
    shirts[:, -1] = 0
    maps[..., : HEIGHT // 4, :] = shirts[people][..., None, None]
    covered = (people != labels.unsqueeze(1)).float().view(count, FRAMES, 1, 1)
    maps[:, :, -1, HEIGHT // 4 :, :] += 6 * covered
    return (maps + _noise(count, generator)).relu(), labels


def peak(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Four features have the same mean over time; one of them has most of it in a single frame, the others in all.

    Nothing is so small that noise would be cut off at 0, which the mean would show.
    """
    labels = torch.randint(0, 4, (count,), generator=generator)
    when = torch.randint(0, FRAMES, (count,), generator=generator)
    frames = torch.ones(count, FRAMES, FEATURES)
    rows = torch.arange(count)
    frames[rows, :, labels] = 0.5
    frames[rows, when, labels] = FRAMES - 0.5 * (FRAMES - 1)
    return (frames[..., None, None] + _noise(count, generator)).relu(), labels


def halves(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Two people wear the same two looks; one wears above what the other wears below."""
    labels = torch.randint(0, 2, (count,), generator=generator)
    looks = _looks(2)
    worn = torch.where(labels.view(-1, 1, 1).bool(), looks.flip(0), looks)  # [B, 2, F]
    maps = worn.transpose(1, 2).repeat_interleave(HEIGHT // 2, dim=2)
    return (maps[:, None, :, :, None] + _noise(count, generator)).relu(), labels


TOYS: dict[str, tuple[Toy, float]] = {
    "order": (order, 0.5),
    "quality": (quality, 0.25),
    "peak": (peak, 0.25),
    "halves": (halves, 0.5),
}
"""Each toy, and the share of clips that a guess gets right."""


def accuracy_after_training(name: str, toy: str, *, steps: int = 150, batch: int = 32) -> float:
    """Train a head and a linear classifier on a toy; the share of new clips that they get right."""
    draw, _ = TOYS[toy]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head: Head = build_head(FEATURES, ModelConfig(head=name))  # type: ignore[arg-type]
        classifier = nn.Linear(head.embedding_size, 4)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([*head.parameters(), *classifier.parameters()], lr=1e-2)
    for _ in range(steps):
        maps, labels = draw(batch, generator)
        out = head(maps, torch.ones(maps.shape[:2], dtype=torch.bool))
        loss = F.cross_entropy(classifier(out.embedding), labels)
        optimizer.zero_grad()
        (loss if out.auxiliary_loss is None else loss + out.auxiliary_loss).backward()
        optimizer.step()
    head.eval()
    with torch.no_grad():
        maps, labels = draw(500, generator)
        logits = classifier(head(maps, torch.ones(maps.shape[:2], dtype=torch.bool)).embedding)
    return (logits.argmax(dim=1) == labels).float().mean().item()
