"""`intraclip train`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from intraclip.cli.common import command, flag_value, read_data, say, training_bar
from intraclip.cli.recipe_flags import parse_with_recipe
from intraclip.config import Recipe
from intraclip.config_io import parse_json
from intraclip.errors import ConfigError
from intraclip.recipe_files import load_recipe


@dataclass(frozen=True, kw_only=True)
class TrainArgs:
    """Train a network with a recipe and write a run folder.

    A recipe is a TOML file or the name of one, shipped (paper, strong, demo) or your own (docs/recipes.md). Every
    setting below can be given as a flag too, which wins over the recipe, such as --optimizer.epochs 20.
    `train --resume RUN` continues a run with its own recipe and data.
    """

    data: Path
    """Data folder, in one of the known layouts (see `intraclip data check`)."""
    labels: Path | None = None
    """People to train on, where the data folder does not say them: the manifest that `intraclip link` writes."""
    out: Path
    """Run folder to write; must be empty, unless --resume continues it."""
    recipe: str = "paper"
    """Recipe by name, or TOML file. Without it, a training from a run (--model.weights) takes that run's."""
    resume: bool = False
    """Continue the run named here, or the one in --out, from its latest checkpoint."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)


def parsed(argv: Sequence[str]) -> TrainArgs:
    """The flags of a command line, over the recipe that they change."""
    argv = resumed(argv)
    default = TrainArgs(data=tyro.MISSING, out=tyro.MISSING, settings=_defaults(argv))
    return parse_with_recipe(TrainArgs, argv, command="train", default=default)


def main(args: TrainArgs) -> int:
    """Run the command."""
    from intraclip.train.loop import train

    settings = args.settings
    split = read_data(
        args.data,
        layout=settings.data.layout,
        split=settings.data.split,
        direction=settings.data.direction,
        labels=args.labels,
    )
    with training_bar("training") as bar:
        run = train(settings, data=split, out=args.out, resume=args.resume, watcher=bar)
    if os.environ.get("RANK", "0") != "0":  # started by torchrun: one process speaks
        return 0
    say(
        f"the model is {run / 'model.safetensors'}; score it with: {command('evaluate', args.out, '--data', args.data)}"
    )
    return 0


def resumed(argv: Sequence[str]) -> list[str]:
    """The flags with what a run that is resumed says itself: --out, --recipe and --data, where they are not given.

    Without ``--resume RUN``, or ``--out RUN --resume``, they come back as they are.

    Raises:
        ConfigError: the run is none, or does not say where its data are.
    """
    words = [
        part for word in argv for part in (word.split("=", 1) if word.startswith("--resume=") else [word])
    ]
    if "--resume" not in words:
        return words
    place = words.index("--resume") + 1
    if place < len(words) and not words[place].startswith("--"):
        words += ["--out", words.pop(place)] if flag_value(words, "--out") is None else []
    run = flag_value(words, "--out")
    if run is None:
        raise ConfigError("--resume: name the run, as in `intraclip train --resume RUN`")
    config = Path(run) / "config.toml"
    if not config.is_file():
        if flag_value(words, "--data") is None:
            raise ConfigError(f"{run} is not a run that can be continued: it holds no config.toml")
        return words  # it starts from the beginning
    if flag_value(words, "--recipe") is None:
        words += ["--recipe", str(config)]
    if flag_value(words, "--data") is None:
        try:
            root = parse_json((Path(run) / "environment.json").read_text(encoding="utf-8"))["data"]["root"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{run} does not say which data it is trained on; name them with --data"
            ) from None
        if not Path(root).exists():
            raise ConfigError(f"the data of {run} are not at {root} any more; name their folder with --data")
        words += ["--data", str(root)]
    return words


def _defaults(argv: Sequence[str]) -> Recipe:
    """The recipe that flags change: the one that is named, else that of the network to start from, else the paper's."""
    weights = flag_value(argv, "--model.weights")
    if weights and flag_value(argv, "--recipe") is None:
        from intraclip.models.checkpoint import read_checkpoint
        from intraclip.models.start import trained_before

        file = trained_before(weights)
        if file is not None:
            return replace(read_checkpoint(file).recipe, description=f"fine-tuning of {weights}")
    return load_recipe(flag_value(argv, "--recipe") or "paper")
