"""`intraclip cross`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from intraclip.cli.common import (
    ForPrograms,
    flag_value,
    print_json,
    print_table,
    progress_bar,
    say,
    tell,
    training_bar,
)
from intraclip.cli.recipe_flags import parse_with_recipe
from intraclip.config import Layout, Recipe
from intraclip.errors import ConfigError
from intraclip.recipe_files import load_recipe
from intraclip.train.comparing import differing_keys


@dataclass(frozen=True, kw_only=True)
class CrossArgs(ForPrograms):
    """Train on every split of one data set and test on every split of another, as in the paper's Table 4.

    Writes a run folder for each training split, cross.json, cross.md and cross.html. With --runs nothing is trained.
    Every setting of the recipe can be given as a flag too, such as --optimizer.epochs 20.
    """

    train: Path | None = None
    """Data folder to train on, such as iLIDS-VID."""
    test: Path
    """Data folder to test on, such as PRID-2011."""
    out: Path | None = None
    """Folder to write; must be empty, unless --resume continues it. With --runs it may be left out."""
    runs: tuple[Path, ...] = ()
    """Runs to test, instead of training them."""
    recipe: str = "paper"
    """Shipped recipe or TOML file."""
    splits: str = "all"
    """Training splits: all, or numbers such as 0,1,2."""
    test_splits: str = "all"
    """Test splits: all, or numbers such as 0,1,2."""
    test_layout: Layout = "auto"
    """Layout of the folder to test on; --data.layout is that of the folder to train on."""
    protocol: str | None = None
    """Protocol by name; by default the usual one of the test data set."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance between embeddings."""
    sampling: Literal["dense", "even", "all"] | None = None
    """Test clips: every clip, one of evenly spaced frames, or all frames; by default as in the recipe."""
    resume: bool = False
    """Keep the finished runs in --out, continue the interrupted one, train what is missing."""
    settings: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)


def parsed(argv: Sequence[str]) -> CrossArgs:
    """The flags of a command line, over the recipe that they change."""
    recipe = load_recipe(flag_value(argv, "--recipe") or "paper")
    default = CrossArgs(test=tyro.MISSING, settings=recipe)
    return parse_with_recipe(CrossArgs, argv, command="cross", default=default)


def main(args: CrossArgs) -> int:
    """Run the command."""
    _check_flags(args)
    result = _run(args)
    if args.json:
        print_json(result)
        return 0
    from intraclip.lab.cross import page

    shown = page(result)
    for table in shown.tables:
        print_table(table.header, table.rows)
    for remark in shown.remarks:
        tell(remark)
    if args.out is not None:
        say(f"written: {args.out / 'cross.md'}, and beside it .json and, with the extra `report`, .html")
    return 0


def _check_flags(args: CrossArgs) -> None:
    if not args.runs:
        if args.settings.data.split:
            raise ConfigError("--data.split says nothing here: use --splits for the training splits")
        return
    useless = [
        flag
        for flag, given in (
            ("--train", args.train is not None),
            ("--recipe", args.recipe != "paper"),
            ("--splits", args.splits != "all"),
            ("--resume", args.resume),
        )
        if given
    ]
    recipe = load_recipe(args.recipe)
    useless += [line for line in differing_keys(recipe, args.settings) if not line.startswith("device:")]
    if useless:
        raise ConfigError(
            f"with --runs nothing is trained, the runs keep their own settings; leave out: {', '.join(useless)}"
        )


def _run(args: CrossArgs) -> dict[str, Any]:
    from intraclip.lab.cross import EvaluationSettings, cross_dataset, cross_runs
    from intraclip.lab.splits import parse_splits
    from intraclip.lab.view import View

    view = View(say=say, training=training_bar, progress=progress_bar)
    settings = EvaluationSettings(protocol=args.protocol, distance=args.distance, sampling=args.sampling)
    test_splits = parse_splits(args.test_splits)
    if args.runs:
        return cross_runs(
            args.runs,
            args.test,
            out=args.out,
            test_splits=test_splits,
            test_layout=args.test_layout,
            settings=replace(settings, device=args.settings.device),
            view=view,
        )
    if args.train is None or args.out is None:
        missing = [flag for flag, value in (("--train", args.train), ("--out", args.out)) if value is None]
        raise ConfigError(
            f"{' and '.join(missing)} missing: give --train DIR, --test DIR and --out DIR to train, or --runs RUN "
            "and --test DIR to test runs that exist"
        )
    return cross_dataset(
        args.train,
        args.test,
        args.settings,
        args.out,
        splits=parse_splits(args.splits),
        test_splits=test_splits,
        test_layout=args.test_layout,
        settings=settings,
        resume=args.resume,
        view=view,
    )
