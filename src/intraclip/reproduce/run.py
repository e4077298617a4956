"""`intraclip reproduce`: plan, train what is missing, and write tables and figures.

::

    OUT/
      data/mars/ ...         rendered people, where no data folder was given
      runs/mars/.../         run folders, shared by all experiments (see `intraclip.reproduce.plan`)
      table1.md .html .json  the numbers; `table1-curves.csv` the training metrics of every run
      fig1.md .html .json    with their pictures beside them
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from intraclip.config_io import load_recipe
from intraclip.data.benchmark import make_benchmark
from intraclip.engine.run import write_json, write_text
from intraclip.errors import ConfigError, OutputError, require_extra
from intraclip.metrics.distance import Distance
from intraclip.metrics.protocols import protocol_named
from intraclip.process import hold
from intraclip.reproduce.estimate import estimates, wall_seconds
from intraclip.reproduce.experiments import Experiment, experiments_named
from intraclip.reproduce.figures_result import FigureResult
from intraclip.reproduce.plan import ExperimentPlan, PlannedRun, Source, choose_sources, lacking, make_plan
from intraclip.reproduce.results import Scoring, table_result, write_curves
from intraclip.reproduce.scales import Scale, scale_named
from intraclip.reproduce.tables import Table, markdown, remarks, tables, write_page
from intraclip.reproduce.work import Slot, do_runs, slots, visible_gpus

PICTURED = ("matplotlib", "sklearn", "captum")


@dataclass(frozen=True, kw_only=True)
class View:
    """How the work shows itself.

    Attributes:
        say: takes a line of text.
        progress: makes a function of (done, total, what is going on) for a task of that name.
    """

    say: Callable[[str], None]
    progress: Callable[[str], AbstractContextManager[Callable[..., None]]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is run, how large and how often.

    Attributes:
        experiment: a name or group of `intraclip.reproduce.experiments`.
        scale: a name of `intraclip.reproduce.scales`.
        out: the folder of everything that is written.
        data: data sets; none for rendered people.
        seeds: how many training seeds, from 0; None for the scale's.
        splits: numbers of splits; None for the scale's, empty for all.
        only: keys of the rows that are wanted; all when empty.
        recipe: another recipe than the scale's: name or file.
        jobs: runs at a time; None for as many as the machine has room for.
        processes: processes (GPUs) of each run.
        protocol: other than the usual one of each data set.
        distance: ``euclidean`` or ``cosine``.
    """

    experiment: str
    scale: str
    out: Path
    data: tuple[Path, ...] = ()
    seeds: int | None = None
    splits: tuple[int, ...] | None = None
    only: tuple[str, ...] = ()
    recipe: str | None = None
    jobs: int | None = None
    processes: int = 1
    protocol: str | None = None
    distance: Distance = "euclidean"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that would be done.

    Attributes:
        settings: that it was made from.
        scale: its scale.
        base: name or file of its recipe.
        plans: one an experiment.
        runs: every run once, in the order of work.
        estimated: run folder -> seconds.
        places: where runs are made, one at a time in each.
        rendered: data sets that have to be rendered.
        frames: frames to render.
        seconds: wall time of all of it, about.
        left_out: experiments of a group that the given data do not allow.
    """

    settings: Settings
    scale: Scale
    base: str
    plans: tuple[ExperimentPlan, ...]
    runs: tuple[PlannedRun, ...]
    estimated: Mapping[Path, float]
    places: tuple[Slot, ...]
    rendered: tuple[Source, ...]
    frames: int
    seconds: float
    left_out: tuple[str, ...]


def plan(settings: Settings) -> Plan:
    """Find out what there is to do; nothing is trained, rendered or written.

    Args:
        settings: what is wanted.

    Raises:
        ConfigError: unknown names, or wrong numbers.
        DataError: everything that is wrong with the data, at once.
        DeviceError: more GPUs asked for than there are.
        MissingExtraError: what draws the figures is not installed.
    """
    chosen = experiments_named(settings.experiment, only=settings.only)
    scale = scale_named(settings.scale)
    for name, value in (
        ("seeds", settings.seeds),
        ("jobs", settings.jobs),
        ("processes", settings.processes),
    ):
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; at least 1 is needed")
    if settings.protocol is not None:
        protocol_named(settings.protocol)
    for module in ("jinja2", *(PICTURED if any(e.kind.startswith("fig") for e in chosen) else ())):
        require_extra(module, extra="report", purpose="tables and figures")
    base = settings.recipe or scale.recipe
    recipe = load_recipe(base)
    layouts = {e.name: _layouts(e, settings) for e in chosen}
    sources = choose_sources(
        list(dict.fromkeys(layout for names in layouts.values() for layout in names)),
        scale,
        settings.out,
        data=settings.data,
        splits=settings.splits,
        recipe=recipe,
        protocol=settings.protocol,
    )
    if len(chosen) > 1:  # of a group, what the given data allow
        possible = tuple(e for e in chosen if not lacking(e, layouts[e.name], sources))
        left_out, chosen = [e.name for e in chosen if e not in possible], possible or chosen
    else:
        left_out = []
    seeds = range(settings.seeds or scale.seeds)
    plans = tuple(
        make_plan(e, scale, settings.out, sources, layouts=layouts[e.name], seeds=seeds, base=base)
        for e in chosen
    )
    runs = tuple({run.folder: run for p in plans for run in p.all_runs}.values())
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
        plans=plans,
        runs=runs,
        estimated=estimated,
        places=tuple(places),
        rendered=rendered,
        frames=frames,
        seconds=wall_seconds(estimated, at_once=len(places), rendering=frames, cores=cores),
        left_out=tuple(left_out),
    )


def reproduce(planned: Plan, view: View) -> list[Path]:
    """Do what a plan says.

    Args:
        planned: from `plan`.
        view: shows the progress.

    Returns:
        The Markdown files, one an experiment.

    Raises:
        IntraclipError: a run failed; the same call goes on from there.
        RunStopped: SIGTERM or Ctrl-C; what was going on has saved itself.
        OutputError: something cannot be written.
    """
    settings = planned.settings
    with _alone(settings.out):
        if planned.rendered:
            for source in planned.rendered:
                _render(source, view)
            planned = plan(settings)  # now the splits can be read
        waiting = [run for run in planned.runs if run.state != "done"]
        if waiting:
            done = len(planned.runs) - len(waiting)
            view.say(f"{len(waiting)} runs to do, {done} done already; {len(planned.places)} at a time")
            with view.progress("training") as progress:
                do_runs(waiting, planned.places, planned.estimated, say=view.say, progress=progress)
        return _write(planned, view)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other processes out of an output folder.

    Raises:
        OutputError: one is at work there, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = hold(out / "lock")
    except BlockingIOError:
        raise OutputError(
            f"another `reproduce` is at work on {out}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}") from None
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _write(planned: Plan, view: View) -> list[Path]:
    settings = planned.settings
    scoring = Scoring(protocol=settings.protocol, distance=settings.distance)
    written = []
    for one in planned.plans:
        view.say(f"writing {one.experiment.name}")
        written.append(
            _table(planned, one, scoring, view)
            if one.experiment.kind in ("table", "cross")
            else _figure(planned, one)
        )
    return written


def _layouts(experiment: Experiment, settings: Settings) -> Sequence[str]:
    # Rendered people in the layout of MARS do for tables over two data sets; given data are all used.
    if experiment.kind == "cross" or settings.data:
        return experiment.layouts
    return experiment.layouts[:1]


def _render(source: Source, view: View) -> None:
    assert source.benchmark is not None
    partial = source.root.with_name(source.root.name + ".partial")
    try:
        if partial.exists():  # an interrupted rendering; it starts again, in a minute
            shutil.rmtree(partial)
        with view.progress(f"rendering {source.layout}") as progress:
            make_benchmark(partial, source.benchmark, progress=progress)
        partial.rename(source.root)
    except OSError as error:
        raise OutputError(f"people cannot be rendered to {source.root}: {error}") from None


def _table(planned: Plan, one: ExperimentPlan, scoring: Scoring, view: View) -> Path:
    out, name = planned.settings.out, one.experiment.name
    result = table_result(one, scoring, scale=planned.scale.name, recipe=planned.base, say=view.say)
    write_json(out / f"{name}.json", result)
    write_curves(out / f"{name}-curves.csv", one.all_runs)
    write_text(out / f"{name}.md", markdown(result))
    section = {
        "title": result["title"],
        "about": result["about"],
        "tables": tables(result),
        "remarks": remarks(result),
        "pictures": [],
    }
    write_page(out / f"{name}.html", title=result["title"], sections=[section])
    return out / f"{name}.md"


def _figure(planned: Plan, one: ExperimentPlan) -> Path:
    from intraclip.reproduce import fig1, fig3

    out, experiment = planned.settings.out, one.experiment
    source = one.sources[0]
    split = source.splits[0]
    folders = {
        key: [run.folder for run in runs if run.split == split.index]
        for key, runs in one.runs[source.layout].items()
    }
    names = FIGURE_NAMES[experiment.name]
    draw = fig1.draw if experiment.kind == "fig1" else fig3.draw
    found: FigureResult = draw({names[key]: runs for key, runs in folders.items()}, split, out)
    write_json(out / f"{experiment.name}.json", found.to_json_dict())
    write_text(out / f"{experiment.name}.md", found.to_markdown())
    header, rows, below = found.table()
    section = {
        "title": experiment.title,
        "about": experiment.about,
        "tables": [Table(title="Numbers", header=header, rows=rows, below=below)],
        "remarks": found.caption,
        "pictures": [{"source": _data_uri(path), "alt": found.title} for path in found.pictures],
    }
    write_page(out / f"{experiment.name}.html", title=experiment.title, sections=[section])
    return out / f"{experiment.name}.md"


FIGURE_NAMES: Mapping[str, Mapping[str, str]] = {
    "fig1": {"model-2": "TAP", "model-4": "ICA"},
    "fig3": {"model-1": "asynchronous", "model-2": "synchronous"},
}
"""Figure -> row -> what its runs are called in the picture."""


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error}") from None
