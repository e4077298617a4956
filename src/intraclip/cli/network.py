"""The network of a command: `--model`, `--head` for what aggregates another one's vectors, and what is used without."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import tyro

from intraclip.cli.common import say
from intraclip.embed.default import networks_here, path_of
from intraclip.errors import ConfigError
from intraclip.models.zoo import Entry
from intraclip.models.zoo.catalogue import STRONGER

if TYPE_CHECKING:
    from intraclip.embed.extractors import ExtractSettings
    from intraclip.embed.network import Network

FlagsT = TypeVar("FlagsT", bound="Networked")
Sampling = Literal["dense", "even", "all"]


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
        if self.head is None:
            return
        from intraclip.embed.network import is_ours  # loads torch

        if self.model is None or is_ours(self.model):
            raise ConfigError(
                f"--head {self.head} goes with another network, a file or a name of the zoo, named by --model; a run "
                "has its own head"
            )

    def open_network(self, *, sampling: Sampling | None = None) -> Network:
        """The network that is named, with other test sampling than its recipe's if given."""
        from intraclip.embed.network import opened

        if self.model is None:
            raise ConfigError("name the network with --model")
        return opened(self.model, head=self.head, engine=self.engine, device=self.device, sampling=sampling)


@dataclass(frozen=True, kw_only=True)
class NetworkByPlace(Networked):
    """The same where the network is what the command is about."""

    model: tyro.conf.Positional[Path | None] = None


def or_default(args: FlagsT) -> FlagsT:
    """The flags, which name the default network where they named none."""
    if args.model is not None:
        return args
    entry = next(networks_here())
    say(f"network: {in_words(entry)}; another one: --model")
    return replace(args, model=path_of(entry))


def in_words(entry: Entry) -> str:
    """Which default network it is, and why."""
    if not entry.shipped:
        return f"{entry.name}, which is in the cache"
    stronger = next((name for name in reversed(STRONGER) if name.endswith("0287")), "")
    return f"{entry.name}, which comes with intraclip (a stronger one: intraclip models get {stronger})"


def extract_settings(
    settings: ExtractSettings,
    *,
    workers: int | None,
    on_unreadable: str | None,
    max_frames: int | None = None,
) -> ExtractSettings:
    """How tracklets are sampled, read and batched: as the network's recipe says, where no flag does."""
    return replace(
        settings,
        max_frames=max_frames or settings.max_frames,
        workers=settings.workers if workers is None else workers,
        skip=settings.skip if on_unreadable is None else on_unreadable == "skip",
    )
