"""What experiments make before they measure, rendered people and trained runs, and how they show their progress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from intraclip.config import Recipe
from intraclip.errors import DataError, OutputError
from intraclip.studio import BenchmarkConfig
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
            train(recipe, data=split, out=run, resume=(run / "config.toml").is_file(), watcher=watcher)

    def render(self, root: Path, config: BenchmarkConfig) -> None:
        """Render a data set; `root` is there once all of it is, and after an interruption it begins anew."""
        from intraclip.studio import make_benchmark  # loads the renderer

        partial = root.with_name(root.name + ".partial")
        try:
            if partial.exists():
                shutil.rmtree(partial)
            with self.progress(f"rendering {config.layout}") as progress:
                make_benchmark(partial, config, progress=progress)
            partial.rename(root)
        except OSError as error:
            raise OutputError(f"people cannot be rendered to {root}: {error}") from None


def check_rendered(root: Path, config: BenchmarkConfig) -> None:
    """Refuse data that were rendered with other settings."""
    try:
        found = json.loads((root / "benchmark.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / 'benchmark.json'} cannot be read: {error}; delete {root}") from None
    wanted = json.loads(json.dumps(asdict(config)))
    different = [
        f"{key}: {found.get(key)} -> {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
    ]
    if different:
        raise OutputError(
            f"{root} was rendered with other settings ({'; '.join(different)}); choose another --out"
        )
