"""The folder of a run: whose it is, with which recipe, and that nobody else is at work in it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from intraclip.config import Recipe
from intraclip.config_io import dump_recipe
from intraclip.core.files import write_text
from intraclip.core.folders import require_empty_folder
from intraclip.core.locks import locked
from intraclip.train.logs import METRICS

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
