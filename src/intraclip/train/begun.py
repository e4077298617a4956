"""A run folder that holds something already: a run to go on with, or the beginning of one that came to nothing."""

from __future__ import annotations

import json
import os
import platform
from contextlib import ExitStack
from pathlib import Path

from intraclip.config import Recipe
from intraclip.config_io import dump_recipe
from intraclip.core.files import is_half_written, whole_file, write_text
from intraclip.core.folders import require_empty_folder, sweep
from intraclip.errors import ConfigError, OutputError
from intraclip.recipe_files import load_recipe
from intraclip.train.comparing import differing_in_effect
from intraclip.train.run_folder import METRICS, REMEDY, hold

_BEGINNING = frozenset({"config.toml", "environment.json", METRICS, "checkpoints", "events"})
"""What a run writes before its first checkpoint."""


def came_to_nothing(run: Path) -> bool:
    """Whether a folder holds the beginning of a run that was killed before its first checkpoint, and nothing else."""
    try:
        load_recipe(str(run / "config.toml"))
    except ConfigError:
        return False
    names = {path.name for path in run.iterdir() if not is_half_written(path)}
    return names <= _BEGINNING and not any(run.glob("checkpoints/*.safetensors*"))


def take_over(run: Path, recipe: Recipe, held: ExitStack, *, resume: bool, restarted: bool) -> None:
    """`prepare` for a folder with a recipe in it."""
    config, launch = run / "config.toml", _launch_file(run)
    if restarted and not resume:
        # torchrun starts everything again after any failure, also after this folder was refused as somebody else's.
        resume = launch.is_file() and launch.read_text() == _launch()
    anew = came_to_nothing(run)
    if not (anew or resume):
        require_empty_folder(run, remedy=REMEDY)
    there_are_locks = hold(run, held)
    different = [] if anew else differing_in_effect(load_recipe(str(config)), recipe)
    if different:
        raise ConfigError(
            f"{run} was started with another recipe; resume with the same, or start a new run. Different:\n"
            + "\n".join(f"  {line}" for line in different)
        )
    if anew:
        if not (resume or there_are_locks):  # it may be running
            require_empty_folder(run, remedy=REMEDY)
        write_text(config, dump_recipe(recipe))
        hold(run, held)  # the file is another one now
    for folder in (run, run / "checkpoints"):
        sweep(folder)


def _launch_file(run: Path) -> Path:
    return run / "checkpoints" / "launch"


def _launch() -> str:
    """What stays the same when torchrun starts its processes again: machine, launcher and name of the launch."""
    return f"{platform.node()} {os.getppid()} {os.environ.get('TORCHELASTIC_RUN_ID', '')}"


def write_launch(run: Path) -> None:
    """Note which launch of torchrun a run is of."""
    file = _launch_file(run)
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(_launch())
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error}") from None


def keep_epochs(path: Path, epochs_done: int) -> None:
    """Drop the lines of epochs that are trained again, and what a crash left half-written: it is one of those."""

    def kept(line: bytes) -> bool:
        try:
            return bool(json.loads(line)["epoch"] <= epochs_done)
        except (ValueError, TypeError, KeyError):
            return False

    with whole_file(path) as partial:
        partial.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines() if kept(line)))
