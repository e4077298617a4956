"""Training from Python: a recipe by name, a data folder, a run folder."""

from __future__ import annotations

from pathlib import Path

from intraclip.config import Recipe
from intraclip.config_io import check_recipe
from intraclip.data.readers import read_split
from intraclip.recipe_files import load_recipe
from intraclip.train import loop
from intraclip.train.loop import Watcher
from intraclip.types import Split


def train(
    recipe: str | Path | Recipe = "paper",
    *,
    data: str | Path | Split,
    out: str | Path,
    labels: str | Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> Path:
    """Train a network and write a run folder; what is in it says `intraclip.train`.

    Args:
        recipe: name of a shipped one (paper, cpu, demo, ...), a TOML file, or a `Recipe`, such as
            ``dataclasses.replace(recipe, seed=1)``.
        data: folder in one of the known layouts, or what `read` gave.
        out: the run folder; new or empty, unless resuming.
        labels: manifest of who is who in a data folder without identities, as `intraclip link` writes it.
        resume: go on from the latest checkpoint in `out`.
        watcher: told about every step.

    Returns:
        The run folder, which `load` and `evaluate` take.

    Raises:
        ConfigError: no such recipe, or a value out of range; all of them are listed.
        DataError: the data cannot be read, or hold too few identities.
        OutputError: `out` is not empty, or cannot be written.

    >>> train("papr", data="MARS", out="run")
    Traceback (most recent call last):
    ...
    intraclip.errors.ConfigError: unknown recipe 'papr' (did you mean 'paper'?): it is no file, and the ...
    """
    settings = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe))
    check_recipe(settings, source="the recipe")
    if isinstance(data, Split):
        split = data
    elif labels is not None:
        from intraclip.data.readers.folder import read_folder

        split = read_folder(Path(data), split=settings.data.split, manifest=Path(labels))
    else:
        chosen = settings.data
        split = read_split(data, layout=chosen.layout, split=chosen.split, direction=chosen.direction)
    loop.train(split, settings, Path(out), resume=resume, watcher=watcher)
    return Path(out)
