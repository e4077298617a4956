"""The weights that backbones start from: looked for in the plan, loaded once before any run starts.

A file that is missing, or does not fit, would otherwise show itself in the first run that needs it, hours later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import torch

from intraclip.config import TIMM, USUAL_WEIGHTS, Recipe
from intraclip.errors import CheckpointError, ConfigError, IntraclipError
from intraclip.lab.reproduce.plan import PlannedRun
from intraclip.models.backbones.timm_weights import usual_place
from intraclip.models.backbones.weights import imagenet_weights
from intraclip.models.embedder import build_embedder
from intraclip.models.packaged import packaged_weights
from intraclip.models.start import begin, trained_before
from intraclip.models.zoo import find_weights


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights that runs start from.

    Attributes:
        recipe: of one of the runs.
        file: the file; for ImageNet's, where torchvision keeps it.
        url: where it comes from; empty for a file of the user's own.
        megabytes: size of the download; None when it is not known.
    """

    recipe: Recipe
    file: Path
    url: str = ""
    megabytes: float | None = None

    @property
    def missing(self) -> bool:
        """Whether it has to be downloaded."""
        return not self.file.is_file()

    def __str__(self) -> str:
        """What is downloaded, from where to where."""
        size = "" if self.megabytes is None else f", {self.megabytes:.0f} MB"
        what = f"ImageNet weights of {self.recipe.model.backbone}"
        return f"{self.file.name}{size}: {what}, from {self.url} to {self.file.parent}"


def weights_of(runs: Sequence[PlannedRun]) -> list[Weights]:
    """The files that runs start from, each once for every backbone; nothing is downloaded or read.

    Raises:
        ConfigError: everything that can be known to be wrong: a file that is not there or cannot be opened, or a
            network of which there are no ImageNet weights.
    """
    found: dict[tuple[str, str, str], Weights] = {}
    problems: dict[str, None] = {}
    for run in runs:
        model = run.recipe.model
        key = (model.backbone, model.weights, str(sorted(model.backbone_settings.items())))
        if not model.weights or run.state not in ("missing", "interrupted") or key in found:
            continue
        try:
            found[key] = _look_up(run.recipe)
        except ConfigError as error:
            problems[str(error)] = None
    if problems:
        raise ConfigError("runs cannot start:\n" + "\n".join(f"  {problem}" for problem in problems))
    return list(found.values())


def load_once(needed: Sequence[Weights], *, say: Callable[[str], None]) -> None:
    """Download what is missing, and fill every backbone once.

    Raises:
        CheckpointError: files that cannot be downloaded, are damaged or do not fit; all of them are named.
    """
    problems: list[str] = []
    for one in needed:
        if one.missing:
            say(f"downloading {one}")
        model, size = one.recipe.model, one.recipe.input
        try:
            begin(build_embedder(model, size, num_classes=2, seed=0), model, size)
        except (IntraclipError, OSError) as error:
            remedy = (
                f"Offline: put {one.url} into {one.file.parent}"
                if one.url
                else "Give a file with torchvision's key names"
            )
            problems.append(
                f'model.weights = "{model.weights}" with model.backbone = "{model.backbone}": {error}. '
                f'{remedy}, or set model.weights = "" (random weights) in a recipe of your own (--recipe), or leave '
                "these rows out (--only)"
            )
    if problems:
        raise CheckpointError("nothing was trained:\n" + "\n".join(f"  {problem}" for problem in problems))


def _look_up(recipe: Recipe) -> Weights:
    model = recipe.model
    if model.weights not in USUAL_WEIGHTS:
        file = trained_before(model.weights) or find_weights(model.weights)
        if not os.access(file, os.R_OK) or not file.is_file():
            what = "cannot be opened" if file.exists() else "is not there"
            raise ConfigError(f"model.weights: the file {file} {what}; give another, or imagenet, or nothing")
        return Weights(recipe=recipe, file=file)
    if model.backbone.startswith(TIMM):
        name = model.backbone.removeprefix(TIMM)
        packaged = packaged_weights(name)
        if packaged is not None and packaged.path is not None:
            return Weights(recipe=recipe, file=packaged.path)
        return Weights(recipe=recipe, file=Path(name), url=usual_place(name))
    weights = imagenet_weights(model)
    return Weights(
        recipe=recipe,
        file=Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name,
        url=weights.url,
        megabytes=weights.meta.get("_file_size"),
    )
