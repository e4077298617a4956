"""The log of a run: one line an epoch in metrics.jsonl, and the same in TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intraclip.errors import OutputError

METRICS = "metrics.jsonl"

Log = Callable[[dict[str, Any]], None]
"""Writes the numbers of one epoch."""


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
