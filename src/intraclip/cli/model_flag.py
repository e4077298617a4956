"""The network of a command: `--model`, and `--head` for what aggregates another network's vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from intraclip.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Networked:
    """Flags that name a network, and what they say about it."""

    model: Path | None = None
    """Network: a run folder or checkpoint, an exported file, a name of `intraclip models list`, or a TOML file that
    describes another one (docs/export.md). Without it, the strongest network that is here by name."""
    head: Path | None = None
    """Run whose head aggregates the vectors of another network named by --model; by default they are averaged (TAP)."""
    engine: str | None = None
    """What runs the network: torch, onnxruntime, openvino, or auto for the fastest exact one that is installed. By
    default torch for a run, auto for another network."""
    device: str | None = None
    """auto, cpu, cuda or cuda:N; by default as in the recipe."""

    def __post_init__(self) -> None:
        """Refuse a head without another network: a run has its own."""
        if self.head is not None and self.encoder is None:
            raise ConfigError(
                f"--head {self.head} goes with another network, a file or a name of the zoo, named by --model; a run "
                "has its own head"
            )

    @property
    def run(self) -> Path | None:
        """The run whose head aggregates: the model where it is intraclip's own, else --head."""
        return self.model if self.model is not None and is_ours(self.model) else self.head

    @property
    def encoder(self) -> Path | None:
        """The network of other people that embeds the frames, if the model is one."""
        return None if self.model is None or is_ours(self.model) else self.model


@dataclass(frozen=True, kw_only=True)
class NetworkByPlace(Networked):
    """The same where the network is what the command is about."""

    model: tyro.conf.Positional[Path | None] = None
    """Network: a run folder or checkpoint, an exported file, a name of `intraclip models list`, or a TOML file that
    describes another one (docs/export.md). Without it, the strongest network that is here by name."""


def is_ours(model: Path) -> bool:
    """Whether a name stands for a run or checkpoint, with a head of its own; other networks only embed frames."""
    from intraclip.export.engines import RUNS
    from intraclip.models.zoo import find

    if model.suffix.lower() in (".toml", *RUNS):
        return False
    entry = None if model.exists() else find(str(model))
    return entry is None or entry.kind != "re-ID network"
