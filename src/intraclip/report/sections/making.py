"""How the runs were made: recipe, machine, command, commit and data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise

from intraclip.config_io import dump_recipe
from intraclip.core.numbers import duration
from intraclip.report.html import Shown
from intraclip.report.records import RunRecord
from intraclip.train.comparing import differing_keys


def making(run: RunRecord) -> Shown:
    """Recipe, machine, command, commit and data of a run."""
    environment, data = run.environment, run.evaluation.get("data", {})
    trained = environment.get("data", {})
    versions = {"python": environment.get("python"), **environment.get("packages", {})}
    facts = {
        "Run folder": str(run.folder),
        "Command": shlex.join(map(str, environment.get("command") or ())),
        "Commit": str(environment.get("commit") or "not known"),
        "Training data": trained
        and f"{trained.get('dataset')}, split {trained.get('split')}: {trained.get('training_tracklets')} "
        f"tracklets of {trained.get('training_identities')} people, in {trained.get('root')}",
        "Test data": f"{data.get('dataset')}, split {data.get('split')}, in {data.get('root')}",
        "Machine": environment
        and f"{environment.get('device')} ({environment.get('processor')}, {environment.get('cores')} cores, "
        f"{environment.get('threads')} threads), {environment.get('platform')}",
        "Versions": environment and ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Epochs": run.epochs and f"{len(run.epochs)}, {duration(run.seconds or 0)} in all",
        "Throughput": run.throughput and str(run.throughput.get("summary")),
    }
    return {
        "run": run.name,
        "description": run.recipe.description,
        "facts": [(name, text) for name, text in facts.items() if text],
        "recipe": dump_recipe(run.recipe),
    }


def recipe_differences(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Settings in which neighbouring runs differ, descriptions left out."""
    lines = []
    for first, second in pairwise(runs):
        lines += [
            line
            for line in differing_keys(first.recipe, second.recipe)
            if not line.startswith("description:")
        ]
    return tuple(dict.fromkeys(lines))
