"""The network of a command: `--model`, and `--head` for what aggregates another network's vectors."""

from __future__ import annotations

from pathlib import Path

from intraclip.errors import ConfigError


class Networked:
    """What a command's flags say about its network; the dataclass has the fields."""

    model: Path | None
    head: Path | None

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


def is_ours(model: Path) -> bool:
    """Whether a name stands for a run or checkpoint, with a head of its own; other networks only embed frames."""
    from intraclip.export.engines import RUNS
    from intraclip.models.zoo import find

    if model.suffix.lower() in (".toml", *RUNS):
        return False
    entry = None if model.exists() else find(str(model))
    return entry is None or entry.kind != "re-ID network"
