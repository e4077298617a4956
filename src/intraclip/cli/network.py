"""The network of a command: `--model`, `--head` for what aggregates another one's vectors, and what is used without."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import tyro

from intraclip.cli.common import say
from intraclip.embed.default import networks_here, path_of
from intraclip.errors import ConfigError
from intraclip.export.engines import RUNS
from intraclip.models.zoo import Entry, find
from intraclip.models.zoo.catalogue import STRONGER

if TYPE_CHECKING:
    from intraclip.config import Recipe
    from intraclip.embed.extractors import Extractor, ExtractSettings
    from intraclip.embed.network import Network

FlagsT = TypeVar("FlagsT", bound="Networked")


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
    def names_one(self) -> bool:
        """Whether a network is named at all."""
        return self.model is not None or self.head is not None

    @property
    def run(self) -> Path | None:
        """The run whose head aggregates: the model where it is intraclip's own, else --head."""
        return self.model if self.model is not None and is_ours(self.model) else self.head

    @property
    def encoder(self) -> Path | None:
        """The network of other people that embeds the frames, if the model is one."""
        return None if self.model is None or is_ours(self.model) else self.model

    def open_network(self) -> tuple[Extractor, Recipe]:
        """The network that is named, and the recipe that says how it samples clips."""
        from intraclip.embed.extract import open_extractor

        return open_extractor(self.run, encoder=self.encoder, engine=self.engine, device=self.device)


@dataclass(frozen=True, kw_only=True)
class NetworkByPlace(Networked):
    """The same where the network is what the command is about."""

    model: tyro.conf.Positional[Path | None] = None


def is_ours(model: Path) -> bool:
    """Whether a name stands for a run or checkpoint, with a head of its own; other networks only embed frames."""
    if model.suffix.lower() in (".toml", *RUNS):
        return False
    entry = None if model.exists() else find(str(model))
    return entry is None or entry.kind != "re-ID network"


def or_default(args: FlagsT) -> FlagsT:
    """The flags, which name the default network where they named none."""
    if args.names_one:
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
    recipe: Recipe,
    *,
    workers: int | None,
    on_unreadable: str | None,
    max_frames: int | None = None,
    sampling: Literal["dense", "even", "all"] | None = None,
) -> ExtractSettings:
    """How tracklets are sampled, read and batched: as the recipe says, where no flag does."""
    from intraclip.embed.extractors import ExtractSettings

    clip = replace(recipe.clip, test_sampling=sampling or recipe.clip.test_sampling)
    settings = ExtractSettings.of(recipe, clip=clip)
    return replace(
        settings,
        max_frames=max_frames or settings.max_frames,
        workers=settings.workers if workers is None else workers,
        skip=settings.skip if on_unreadable is None else on_unreadable == "skip",
    )


def ready(model: tuple[Extractor, Recipe]) -> Network:
    """A network that was opened, ready to embed clips as its recipe says."""
    from intraclip.embed.extractors import ExtractSettings
    from intraclip.embed.network import Network

    return Network(model[0], ExtractSettings.of(model[1]))
