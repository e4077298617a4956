"""`intraclip reproduce`: plan, train what is missing, and write tables and figures.

::

    OUT/
      data/mars/ ...         rendered people, where no data folder was given
      runs/mars/.../         run folders, shared by all experiments (see `intraclip.lab.reproduce.plan`), beside each
                             its recipe, written before any run starts, and its log
      table1.md .html .json  the numbers; `table1-curves.csv` the training metrics of every run
      fig1.md .html .json    with their pictures beside them
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from intraclip.config import Recipe
from intraclip.core.extras import require_extra
from intraclip.core.jobs import alone
from intraclip.core.settings import require_bounds
from intraclip.errors import ConfigError, IntraclipError
from intraclip.lab.reproduce.estimate import estimates, wall_seconds
from intraclip.lab.reproduce.experiments import experiments_named
from intraclip.lab.reproduce.plan import (
    ExperimentPlan,
    PlannedRun,
    Refused,
    lacking,
    look_again,
    make_plan,
    raise_refused,
)
from intraclip.lab.reproduce.results import table_result, write_curves
from intraclip.lab.reproduce.runner import Failure, Slot, do_runs, slots, visible_gpus
from intraclip.lab.reproduce.scales import Scale, Settings, scale_named
from intraclip.lab.reproduce.sources import Source, choose_sources, layouts_for
from intraclip.lab.reproduce.tables import page, write_result
from intraclip.lab.reproduce.weights import Weights, load_once, weights_of
from intraclip.lab.view import View
from intraclip.metrics.protocols import protocol_named
from intraclip.recipe_files import load_recipe

PICTURED = ("matplotlib", "sklearn", "captum")

FIGURE_NAMES: Mapping[str, Mapping[str, str]] = {
    "fig1": {"model-2": "TAP", "model-4": "ICA"},
    "fig3": {"model-1": "asynchronous", "model-2": "synchronous"},
}
"""Figure -> row -> what its runs are called in the picture."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that would be done.

    Attributes:
        runs: every run once, in the order of work.
        estimated: run folder -> seconds.
        places: where runs are made, one at a time in each.
        seconds: wall time of all of it, about.
        left_out: experiments of a group that the given data do not allow.
    """

    settings: Settings
    scale: Scale
    base: str
    recipe: Recipe
    plans: tuple[ExperimentPlan, ...]
    runs: tuple[PlannedRun, ...]
    estimated: Mapping[Path, float]
    places: tuple[Slot, ...]
    weights: tuple[Weights, ...]
    rendered: tuple[Source, ...]
    frames: int
    seconds: float
    left_out: tuple[str, ...]

    @property
    def cautions(self) -> list[str]:
        """What should be known before hours are spent: a sentence each."""
        return [
            *(sentence for one in self.plans for sentence in one.cautions),
            *(f"will be downloaded: {one}" for one in self.weights if one.missing),
        ]


class RunsFailed(IntraclipError):
    """Some runs failed; everything that does not need them is done.

    Attributes:
        written: the Markdown files of the experiments that could be written.
    """

    def __init__(self, message: str, written: Sequence[Path]) -> None:
        super().__init__(message)
        self.written = list(written)


def plan(settings: Settings, *, recipe: Recipe | None = None) -> Plan:
    """Find out what there is to do; nothing is trained, rendered, downloaded or written.

    Raises:
        ConfigError: unknown names, wrong numbers, or weights that are not there.
    """
    chosen = experiments_named(settings.experiment, only=settings.only)
    scale = scale_named(settings.scale)
    if settings.protocol is not None:
        protocol_named(settings.protocol)
    require_bounds(settings)
    for module in ("jinja2", *(PICTURED if any(e.is_figure for e in chosen) else ())):
        require_extra(module, extra="report", purpose="tables and figures")
    base = settings.recipe or scale.recipe
    recipe = recipe or load_recipe(base)
    layouts = {e.name: layouts_for(e, chosen, given=bool(settings.data)) for e in chosen}
    sources = choose_sources(
        list(dict.fromkeys(layout for names in layouts.values() for layout in names)),
        scale,
        settings.out,
        data=settings.data,
        splits=settings.numbers,
        recipe=recipe,
        protocol=settings.protocol,
    )
    left_out: list[str] = []
    if len(chosen) > 1:  # of a group, what the given data allow
        possible = tuple(e for e in chosen if not lacking(e, layouts[e.name], sources))
        left_out, chosen = [e.name for e in chosen if e not in possible], possible or chosen
    seeds = range(settings.seeds or scale.seeds)
    refused: Refused = {}
    plans = tuple(
        make_plan(
            e,
            scale,
            settings.out,
            sources,
            layouts=layouts[e.name],
            seeds=seeds,
            base=base,
            recipe=recipe,
            refused=refused,
        )
        for e in chosen
    )
    raise_refused(refused)
    if settings.finished:
        plans = tuple(one for one in (p.finished() for p in plans) if one.runs)
        if not plans:
            raise ConfigError(
                f"no run of {settings.experiment} in {settings.out} is finished; leave out --finished"
            )
    runs = tuple({run.folder: run for p in plans for run in p.all_runs}.values())
    weights = weights_of(runs)
    gpus = visible_gpus() if recipe.device != "cpu" else ()
    if recipe.device.startswith("cuda:"):
        raise ConfigError(
            f"the recipe's device is {recipe.device}; `reproduce` chooses among the GPUs itself: set device to auto, "
            "and CUDA_VISIBLE_DEVICES to those it may use"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    places = slots(settings.jobs, settings.processes, gpus=gpus, cores=cores)
    estimated = estimates(runs, places[0])
    rendered = tuple(s for s in {s.root: s for p in plans for s in p.sources}.values() if not s.splits)
    frames = sum(source.all_frames for source in rendered)
    return Plan(
        settings=settings,
        scale=scale,
        base=base,
        recipe=recipe,
        plans=plans,
        runs=runs,
        estimated=estimated,
        places=tuple(places),
        weights=tuple(weights),
        rendered=rendered,
        frames=frames,
        seconds=wall_seconds(estimated, at_once=len(places), rendering=frames, cores=cores),
        left_out=tuple(left_out),
    )


def reproduce(planned: Plan, view: View) -> list[Path]:
    """Do what a plan says.

    Returns:
        The Markdown files, one an experiment.

    Raises:
        RunsFailed: some runs failed; the others are done, and what does not need the failed ones is written.
        IntraclipError: a failure that must hit every run, or finished runs that are not what was planned.
        OutputError: something cannot be written.
    """
    settings = planned.settings
    failures: list[Failure] = []
    with alone(settings.out):
        load_once(planned.weights, say=view.say)
        if planned.rendered:
            for source in planned.rendered:
                assert source.benchmark is not None
                view.render(source.root, source.benchmark)
            planned = plan(settings, recipe=planned.recipe)  # now the splits can be read
        waiting = [run for run in planned.runs if run.state != "done"]
        if waiting:
            done = len(planned.runs) - len(waiting)
            view.say(f"{len(waiting)} runs to do, {done} done already; {len(planned.places)} at a time")
            with view.progress("training") as progress:
                failures = do_runs(
                    waiting, planned.places, planned.estimated, say=view.say, progress=progress
                )
        broken = {failure.run.folder for failure in failures}
        whole = [p for p in planned.plans if not broken & {run.folder for run in p.all_runs}]
        written: list[Path] = []
        try:
            if waiting:
                _check_done(planned.runs, failures)
            for one in whole:
                view.say(f"writing {one.experiment.name}")
                written.append(
                    _write_figure(one, settings.out)
                    if one.experiment.is_figure
                    else _write_table(one, settings, recipe=planned.base, say=view.say)
                )
        except IntraclipError as error:
            if not failures:
                raise
            raise RunsFailed(f"{error}\n{_told(planned, failures)}", written) from None
    if failures:
        raise RunsFailed(_told(planned, failures), written)
    return written


def _write_table(one: ExperimentPlan, settings: Settings, *, recipe: str, say: Callable[[str], None]) -> Path:
    """Score the runs of a table and write it; returns the Markdown file."""
    name, out = one.experiment.name, settings.out
    result = table_result(one, settings, recipe=recipe, say=say)
    write_curves(out / f"{name}-curves.csv", one.all_runs)
    return write_result(out / f"{name}.md", page(result), result)


def _write_figure(one: ExperimentPlan, out: Path) -> Path:
    """Draw a figure from its runs and write it; returns the Markdown file."""
    from intraclip.lab.reproduce import fig1, fig3

    experiment, source = one.experiment, one.sources[0]
    split = source.splits[0]
    folders = {
        key: [run.folder for run in runs if run.split == split.index]
        for key, runs in one.runs[source.layout].items()
    }
    names = FIGURE_NAMES[experiment.name]
    draw = fig1.draw if experiment.kind == "fig1" else fig3.draw
    found = draw({names[key]: runs for key, runs in folders.items()}, split, out)
    return write_result(out / f"{experiment.name}.md", found.page(experiment.about), found.to_json_dict())


def _check_done(runs: Sequence[PlannedRun], failures: Sequence[Failure]) -> None:
    """Look at all runs again before their numbers are used: a long time may have passed since the plan."""
    failed = {failure.run.folder for failure in failures}
    found = look_again([run for run in runs if run.folder not in failed])
    unfinished = [f"  {run.folder} ({run.state})" for run in found if run.state != "done"]
    if unfinished:
        raise IntraclipError(
            f"nothing was written: {len(unfinished)} runs have ended, but do not hold the model and the scores that "
            "were planned; was something changed in the meantime? The same command makes up for it:\n"
            + "\n".join(unfinished)
        )


def _told(planned: Plan, failures: Sequence[Failure]) -> str:
    """What failed, what could not be written, and how to do without."""
    lines = [f"{len(failures)} of {len(planned.runs)} runs failed, all others are done:"]
    lines += [f"  {failure}" for failure in failures]
    broken = {failure.run.folder for failure in failures}
    for one in planned.plans:
        missing = [
            key
            for key in dict.fromkeys(key for rows in one.runs.values() for key in rows)
            if broken & {run.folder for rows in one.runs.values() for run in rows.get(key, ())}
        ]
        if not missing:
            continue
        rows = "rows" if len(missing) > 1 else "row"
        lines.append(f"{one.experiment.name} was not written, it needs the {rows} {', '.join(missing)}")
        kept = [row.key for row in one.experiment.rows if row.key not in missing]
        if one.experiment.can_be_made_of(kept):
            lines.append(f"  without it: {_command(planned.settings, one, kept)}")
    lines.append("The same command tries the failed runs again; what was trained is kept.")
    return "\n".join(lines)


def _command(settings: Settings, one: ExperimentPlan, only: Sequence[str]) -> str:
    """The command that makes some rows of one experiment, with the settings of this one."""
    words = ["intraclip", "reproduce", one.experiment.name, "--scale", settings.scale]
    words += ["--out", str(settings.out)]
    if settings.data:
        words += ["--data", *(str(source.root) for source in one.sources)]
    for name in ("splits", "seeds", "recipe", "jobs", "protocol", "processes", "distance"):
        if (value := getattr(settings, name)) != getattr(Settings, name):
            words += [f"--{name}", str(value)]
    return shlex.join([*words, "--only", *only])
