"""Miniature data, a recipe of seconds, and runs made in this process."""

from __future__ import annotations

from pathlib import Path

from data.miniature import write_ilids_vid, write_mars, write_prid2011
from intraclip.data.readers import read_split
from intraclip.embed.evaluate import evaluate
from intraclip.lab.reproduce.plan import PlannedRun
from intraclip.lab.reproduce.run import Plan, plan
from intraclip.lab.reproduce.scales import Settings
from intraclip.train.loop import train
from tiny_recipe import RECIPE


def write_recipe(folder: Path) -> Path:
    """The tiny recipe as a file."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path


def mars(folder: Path) -> Path:
    """MARS with six people to train on and four to test on."""
    return write_mars(folder / "mars", train_pids=(1, 3, 5, 7, 9, 11), test_pids=(2, 4, 6, 8))


def ilids(folder: Path) -> Path:
    return write_ilids_vid(
        folder / "ilids", pids=range(1, 9), splits=((3, 1, 4, 2, 8, 6, 7, 5), (1, 2, 3, 4, 5, 6, 7, 8))
    )


def prid(folder: Path) -> Path:
    return write_prid2011(folder / "prid", pids=range(1, 9))


def planned(folder: Path, experiment: str, *data: Path, seeds: int = 1, splits: str | None = "0") -> Plan:
    """A plan on given data, with the tiny recipe."""
    return plan(
        Settings(
            experiment=experiment,
            scale="smoke",
            out=folder / "out",
            data=data,
            seeds=seeds,
            splits=splits,
            recipe=str(write_recipe(folder)),
        )
    )


def make(run: PlannedRun) -> None:
    """Train and score a run here, which the command line does in processes."""
    split = read_split(run.source.root, split=run.split)
    train(run.recipe, data=split, out=run.folder)
    evaluate(run.folder, data=split)
