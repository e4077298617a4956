"""The folder of a run: whose it is, with which recipe, and that nobody else is at work in it."""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack
from pathlib import Path

from intraclip.config import Recipe
from intraclip.config_io import dump_recipe
from intraclip.core.files import is_half_written, write_text
from intraclip.core.folders import require_empty_folder, sweep
from intraclip.core.locks import locked
from intraclip.errors import ConfigError, OutputError
from intraclip.recipe_files import load_recipe
from intraclip.train.comparing import differing_in_effect
from intraclip.train.logs import METRICS

_REMEDY = "choose another --out, or continue that run with --resume"
_BEGINNING = frozenset({"config.toml", "environment.json", METRICS, "checkpoints", "events"})
"""What a run writes before its first checkpoint."""
_PATIENCE_S = 15.0
"""Workers that load data outlive a killed process for some seconds, and its locks with them."""


def _came_to_nothing(run: Path) -> bool:
    """Whether a folder holds the beginning of a run that was killed before its first checkpoint, and nothing else."""
    if not (run / "config.toml").is_file():
        return False
    try:
        load_recipe(str(run / "config.toml"))
    except ConfigError:
        return False
    names = {path.name for path in run.iterdir() if not is_half_written(path)}
    return names <= _BEGINNING and not any(run.glob("checkpoints/*.safetensors*"))


def require_free(run: Path) -> None:
    """Refuse a folder that holds something, the beginning of a run that came to nothing excepted."""
    if not _came_to_nothing(run):
        require_empty_folder(run, remedy=_REMEDY)


def prepare(run: Path, recipe: Recipe, held: ExitStack, *, resume: bool, restarted: bool) -> None:
    """Begin the folder of a run, or go on in it, and keep other processes out of it.

    `held` gives the folder free again; `restarted` says that torchrun has started the processes again.

    Raises:
        OutputError: somebody else is at work there, or it holds something, or cannot be written.
        ConfigError: the run was started with another recipe.
    """
    config, launch = run / "config.toml", run / "checkpoints" / "launch"
    if restarted and not resume:
        # torchrun starts everything again after any failure, also after this folder was refused as somebody else's.
        resume = not config.exists() or (launch.is_file() and launch.read_text() == _launch())
    anew = _came_to_nothing(run)
    if not (anew or (resume and config.is_file())):
        require_empty_folder(run, remedy=_REMEDY)
        taken = f"another process began a run in {run} just now; choose another --out"
        write_text(config, dump_recipe(recipe), replace=False, taken=taken)
        _hold(run, held)
    else:
        locked = _hold(run, held)
        different = [] if anew else differing_in_effect(load_recipe(str(config)), recipe)
        if different:
            raise ConfigError(
                f"{run} was started with another recipe; resume with the same, or start a new run. Different:\n"
                + "\n".join(f"  {line}" for line in different)
            )
        if anew:
            if not (resume or locked):  # it may be running
                require_empty_folder(run, remedy=_REMEDY)
            write_text(config, dump_recipe(recipe))
            _hold(run, held)  # the file is another one now
        for folder in (run, run / "checkpoints"):
            sweep(folder)
    _write_launch(launch)


def _hold(run: Path, held: ExitStack) -> bool:
    """Keep other processes from training into the folder while this one does; False where there are no locks."""
    taken = f"another process is training into {run}; wait for it, or choose another --out"
    return held.enter_context(locked(run / "config.toml", taken=taken, patience=_PATIENCE_S))


def _launch() -> str:
    """What stays the same when torchrun starts its processes again: machine, launcher and name of the launch."""
    return f"{platform.node()} {os.getppid()} {os.environ.get('TORCHELASTIC_RUN_ID', '')}"


def _write_launch(file: Path) -> None:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(_launch())
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error}") from None


def began(run: Path) -> bool:
    """Whether a run has something that is worth keeping: a checkpoint, a finished epoch, or a batch that failed."""
    log = run / METRICS
    return any(any(run.glob(kind)) for kind in ("checkpoints/*.safetensors*", "failed-batch*")) or (
        log.is_file() and log.stat().st_size > 0
    )
