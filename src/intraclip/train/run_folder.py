"""The folder of a run: with which recipe, that nobody else is at work in it, and its log.

The log is one line an epoch in metrics.jsonl, and the same in TensorBoard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from intraclip.config import Recipe
from intraclip.config_io import dump_recipe
from intraclip.core.files import write_text
from intraclip.core.folders import require_empty_folder
from intraclip.core.locks import locked
from intraclip.errors import OutputError

METRICS = "metrics.jsonl"

Log = Callable[[dict[str, Any]], None]
"""Writes the numbers of one epoch."""

REMEDY = "choose another --out, or continue that run with --resume"
_PATIENCE_S = 15.0
"""Workers that load data outlive a killed process for some seconds, and its locks with them."""


def require_free(run: Path) -> None:
    """Refuse a folder that holds something, the beginning of a run that came to nothing excepted."""
    if (run / "config.toml").is_file():
        from intraclip.train.begun import came_to_nothing

        if came_to_nothing(run):
            return
    require_empty_folder(run, remedy=REMEDY)


def prepare(run: Path, recipe: Recipe, held: ExitStack, *, resume: bool, restarted: bool) -> None:
    """Begin the folder of a run, or go on in it, and keep other processes out of it.

    `held` gives the folder free again; `restarted` says that torchrun has started the processes again.

    Raises:
        OutputError: somebody else is at work there, or it holds something, or cannot be written.
        ConfigError: the run was started with another recipe.
    """
    config = run / "config.toml"
    if config.is_file():
        from intraclip.train.begun import take_over

        take_over(run, recipe, held, resume=resume, restarted=restarted)
    else:
        require_empty_folder(run, remedy=REMEDY)
        taken = f"another process began a run in {run} just now; choose another --out"
        write_text(config, dump_recipe(recipe), replace=False, taken=taken)
        hold(run, held)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from intraclip.train.begun import write_launch

        write_launch(run)


def hold(run: Path, held: ExitStack) -> bool:
    """Keep other processes from training into the folder while this one does; False where there are no locks."""
    taken = f"another process is training into {run}; wait for it, or choose another --out"
    return held.enter_context(locked(run / "config.toml", taken=taken, patience=_PATIENCE_S))


def began(run: Path) -> bool:
    """Whether a run has something that is worth keeping: a checkpoint, a finished epoch, or a batch that failed."""
    log = run / METRICS
    return any(any(run.glob(kind)) for kind in ("checkpoints/*.safetensors*", "failed-batch*")) or (
        log.is_file() and log.stat().st_size > 0
    )


@contextmanager
def open_log(run: Path, *, epochs_done: int, tensorboard: bool, leads: bool = True) -> Iterator[Log]:
    """Open the log of a run, without the lines after `epochs_done`; only the process that leads writes.

    Raises:
        OutputError: something in the run folder cannot be written while the log is open.
    """
    if not leads:
        yield lambda entry: None
        return
    with _writing(run):
        if (run / METRICS).exists():
            from intraclip.train.begun import keep_epochs

            keep_epochs(run / METRICS, epochs_done)
        file = (run / METRICS).open("a", encoding="utf-8")
        events: Any = _tensorboard(run, epochs_done) if tensorboard else None

    def log(entry: dict[str, Any]) -> None:
        with _writing(run):
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before the checkpoint of this epoch
            for key, value in entry.items() if events is not None else ():
                if key not in ("epoch", "step"):
                    events.add_scalar(f"train/{key}", value, entry["epoch"])

    try:
        yield log
    finally:
        with _writing(run):
            file.close()
            if events is not None:
                events.close()


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the run folder {run} cannot be written: {error}; what was written before is kept, continue with --resume"
        ) from None


def _tensorboard(run: Path, epochs_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the `report` extra brings it; metrics.jsonl holds the same numbers
        return None
    return SummaryWriter(str(run / "events"), purge_step=epochs_done + 1)
