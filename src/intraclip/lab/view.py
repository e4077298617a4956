"""How an experiment shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from intraclip.config import Recipe
from intraclip.train.loop import Silent, Watcher, train
from intraclip.types import Split


@dataclass(frozen=True, kw_only=True)
class View:
    """How an experiment shows its progress; by default it does not.

    Attributes:
        say: takes a line of text.
        training: makes a watcher for a training run of that name.
        progress: makes a function of (done, total), perhaps with what is going on, for a task of that name.
    """

    say: Callable[[str], None] = lambda text: None
    training: Callable[[str], AbstractContextManager[Watcher]] = lambda name: nullcontext(Silent())
    progress: Callable[[str], AbstractContextManager[Callable[..., None]]] = lambda name: nullcontext(
        lambda *_: None
    )

    def train(self, split: Split, recipe: Recipe, run: Path, *, what: str) -> None:
        """Train a run, or go on with one that was interrupted; one that is finished is used as it is."""
        if (run / "model.safetensors").is_file():
            self.say(f"{run} is trained already and is used as it is")
            return
        self.say(f"training {what}")
        with self.training(run.name) as watcher:
            train(split, recipe, run, resume=(run / "config.toml").is_file(), watcher=watcher)
