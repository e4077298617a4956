"""From embeddings or a gallery to people: everything `intraclip link` decides, without its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intraclip.core.progress import Progress
from intraclip.core.settings import shown
from intraclip.data.readers import read_split
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.errors import ConfigError, DataError
from intraclip.gallery.answers import Answer
from intraclip.gallery.gallery import Gallery, open_gallery
from intraclip.link import people as grouping
from intraclip.link.agglomeration import Indices
from intraclip.link.changes import Before
from intraclip.link.evidence import Evidence
from intraclip.link.footage import tells_apart, with_unit
from intraclip.link.kept import keep_in
from intraclip.link.learning import KEPT, learn_times, still_linked
from intraclip.link.output import read_linking
from intraclip.link.people import LIKELIER, SURE, People
from intraclip.link.scores import LinkScores, score_people
from intraclip.link.source import (
    Input,
    from_embeddings,
    from_file,
    from_folder,
    from_gallery,
    is_data_folder,
    is_gallery,
    kept_apart,
)
from intraclip.link.told import Said, Told, read_told
from intraclip.link.travel import TravelTimes, read_travel_times
from intraclip.metrics.distance import Distance
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_probability import MatchCalibration, read_calibration
from intraclip.types import Split

if TYPE_CHECKING:
    from intraclip.embed.network import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Linked(People):
    """People, and what they were made of.

    Attributes:
        calibration: as it was read or fitted, before another prior; None without one.
        scores: against known pids; None where there are none.
    """

    given: Input = field(repr=False)
    calibration: MatchCalibration | None
    scores: LinkScores | None


def link(
    source: str | Path | Embeddings | Split | Gallery,
    *,
    data: str | Path | Split | None = None,
    network: Network | None = None,
    calibration: MatchCalibration | Embeddings | str | Path | None = None,
    prior: float | None = None,
    probability: float | None = None,
    threshold: float | None = None,
    distance: Distance | None = None,
    travel: TravelTimes | str | Path | None = None,
    one_clock: bool = False,
    one_per_camera: bool = False,
    no_travel: bool = False,
    answers: str | Path | Iterable[Answer | tuple[str, str, str]] | None = None,
    labels: str | Path | Mapping[str, str] | None = None,
    before: People | str | Path | None = None,
    renumber: bool = False,
    keep: bool = True,
    progress: Progress | None = None,
) -> Linked:
    """Group the tracklets of several cameras into people.

    Args:
        source: embeddings, a file of them (.npz, .parquet), a gallery (its folder, its server's address, or open), or
            tracklets to embed first: a folder with a manifest, as `ingest` writes it, or a `Split`.
        network: that embeds tracklets; by default the strongest that is here by name.
        data: folder that an embeddings file was made from; says which recording a tracklet is of.
        calibration: what distances mean: fitted, its .json file, or labelled embeddings of the same network (or a file
            of them) to fit one on. By default the gallery's own; one that was learned elsewhere gives way to what the
            footage itself says.
        prior: chance that a random pair shows one person, about 1 / people; by default as where it was calibrated.
        probability: join groups while their pairs are on average this likely, by the calibration or, without one, by
            the footage itself; by default `PROBABILITY` and `LIKELIER`, or `SURE` with a calibration learned elsewhere.
        threshold: without a calibration: join groups while their mean distance is below this.
        distance: ``euclidean`` or ``cosine``; by default that of calibration or gallery, else cosine.
        travel: travel times between cameras, or a TOML file of them (docs/link.md).
        one_clock: the times of each camera are on one clock, as of one recording.
        one_per_camera: a person has at most one tracklet in each camera.
        no_travel: learn no times between cameras. They are learned unless there is a threshold, or a calibration beside
            usual times.
        answers: what people said about pairs of tracklets: a CSV file of query, tracklet, judgement (same, different,
            unsure), or a list such as ``[("t1", "t2", "different")]``. A gallery has its own.
        labels: who is on tracklets: a CSV file with the column tracklet and a column name or pid, or names by tracklet.
            A gallery has its own.
        before: an earlier linking, or the folder of `intraclip link --out` that holds it, whose people keep their
            numbers and names. A gallery keeps its last linking itself.
        renumber: number people from 1 and forget names that were given in an earlier linking; labels of a gallery stay.
        keep: a gallery keeps the linking. Else who calls takes care of that (`intraclip.link.kept.keep_in`), and of
            others who link an open gallery meanwhile (`Gallery.linked_alone`).
        progress: called with frames done and in all, where tracklets are embedded.

    Raises:
        ConfigError: settings that do not go together, or are out of range.
        DataError: nothing to link, a calibration of another network or distance, or answers and labels that are damaged
            or about others.

    >>> features = [[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]]
    >>> e = Embeddings(features=features, pids=[-2] * 4, camids=[1, 1, 2, 2], is_query=[0] * 4)
    >>> link(e, threshold=0.5).person.tolist()
    [1, 2, 1, 2]
    """
    table = "the table of travel times"
    if isinstance(travel, str | Path):
        table, travel = str(travel), read_travel_times(Path(travel))
    # What can be wrong by itself is said before tracklets are embedded.
    grouping.require_levels(threshold, probability, calibrated=calibration is not None)
    if isinstance(calibration, str | Path):
        path = Path(calibration)
        calibration = (
            read_calibration(path) if path.suffix.lower() == ".json" else read_embeddings(path).embeddings
        )
    told = None if answers is None and labels is None else read_told(answers, labels)
    with _opened(source, data, network, told, keep, progress) as given:
        if told is not None:
            given = replace(given, said=told.of(given.names))
        notes = list(given.notes)
        fitted = given.calibration if threshold is None else None
        if fitted is not None and fitted.learned_from and distance not in (None, fitted.metric):
            fitted = None  # nobody asked for it
        if calibration is not None:
            fitted = _calibration(calibration, given, distance, notes)
        used = fitted
        if prior is not None:
            if fitted is None:
                raise ConfigError(
                    "--prior needs a calibration, and nothing here has one; name one with --calibration"
                )
            used = fitted.with_prior(prior)
        metric = distance or given.metric or (used.metric if used else "cosine")
        if used is not None:
            used.require(metric=metric, fingerprint=given.fingerprint)
        if travel is not None and (strangers := sorted(travel.cameras - set(given.camids.tolist()))):
            notes.append(f"{table} names cameras without tracklets: {', '.join(map(str, strangers))}")
        if given.times is not None and len(bad := np.flatnonzero(given.times[:, 0] > given.times[:, 1])):
            start, end = given.times[bad[0]].tolist()
            raise DataError(
                f"{len(bad)} tracklets end before they start, such as {given.names[bad[0]]}: {start:g} to {end:g} s"
            )
        said = given.said or Said()
        notes += said.notes
        evidence = Evidence(
            features=given.features,
            camids=given.camids,
            metric=metric,
            calibration=used,
            times=given.times,
            sources=() if one_clock else _sources(given, travel, notes),
            travel=travel,
            one_per_camera=one_per_camera,
            together=said.together,
            different=said.different,
            named=said.named,
        )
        # What was learned in other places gives way to this footage, unless somebody asked for it.
        elsewhere = fitted is not None and bool(fitted.learned_from)
        asked = calibration is not None or prior is not None or (travel is not None and travel.has_usual)

        def grouped(evidence: Evidence) -> People:
            bare = replace(evidence, calibration=None)
            by_times = evidence.transit is not None and evidence.unit > 0 and probability is None
            if elsewhere and not asked and (by_times or tells_apart(bare, probability or LIKELIER)):
                return grouping.link(bare, given.names, probability=probability)
            chance = SURE if elsewhere and probability is None else probability
            return grouping.link(evidence, given.names, threshold=threshold, probability=chance)

        people = grouped(evidence)
        known = travel is not None and travel.has_usual and people.evidence.calibration is not None
        if not (no_travel or known) and threshold is None:
            times, why = learn_times(people)
            if times is not None:
                by_looks, people = people, grouped(with_unit(replace(evidence, transit=times)))
                if (kept := still_linked(by_looks, people)) < KEPT:
                    people = by_looks
                    why = (
                        f"times between cameras were not used: with them {100 - 100 * kept:.0f} % of the links "
                        "that are surest by their looks came apart"
                    )
            notes += [why] * bool(why)
        if people.evidence.calibration is None:
            fitted = None
        elif fitted is not None and elsewhere:
            notes.append(
                f"probabilities were learned from {fitted.learned_from}; your own labelled embeddings: --calibration"
            )
        there = _there(given)
        if len(there) < len(given.names):
            people = grouping.left(people, there)
            notes.append(
                f"{len(given.names) - len(there)} tracklets that were deleted meanwhile were left out"
            )
        earlier = None if renumber else _before(before, given)
        if earlier is not None:
            people = grouping.carried(people, earlier)
        names = (
            (p, said.label_of(there[people.members(p)].tolist()))
            for p in (people.numbers if said.labels else ())
        )
        people = replace(people, labels={**people.labels, **{p: name for p, name in names if name}})
        found = {f.name: getattr(people, f.name) for f in fields(people)}
        found |= {"given": given, "calibration": fitted, "scores": _scores(given, people)}
        linked = Linked(**{**found, "notes": (*notes, *people.notes)})
        if keep and given.gallery is not None:
            keep_in(given.gallery, linked, given.before)
        return linked


def _there(given: Input) -> Indices:
    """Rows of the tracklets that were not deleted while they were grouped."""
    if given.gallery is None:
        return np.arange(len(given.names))
    found = given.gallery.find(given.names)
    rows = np.flatnonzero([name in found for name in given.names])
    if not len(rows):
        raise DataError(f"all tracklets of the gallery {given.gallery.info.address} were deleted meanwhile")
    return rows


def _before(before: People | str | Path | None, given: Input) -> Before | None:
    """The earlier linking: the gallery's own, else the one that was named; names typed into its table count."""
    if isinstance(before, str | Path):
        found, typed = read_linking(Path(before))
    elif before is None:
        found, typed = None, {}
    elif not isinstance(before, People):
        raise DataError(f"before: {shown(before)} is no earlier linking, and no folder of one")
    else:
        person = dict(zip(before.names, before.person.tolist(), strict=True))
        found, typed = Before(person=person, labels=before.labels, following=before.following), {}
    earlier = given.before or found
    return None if earlier is None else earlier.called(typed)


@contextmanager
def _opened(
    source: str | Path | Embeddings | Split | Gallery,
    data: str | Path | Split | None,
    network: Network | None,
    told: Told | None,
    lock: bool,
    progress: Progress | None,
) -> Iterator[Input]:
    folder = is_data_folder(source)
    if told is not None and not folder and (isinstance(source, Gallery) or is_gallery(source)):
        raise ConfigError(
            "--answers and --labels go with a folder of tracklets or an embeddings file; a gallery keeps what was said "
            "about its tracklets: judge them on the page of `intraclip serve`, or with `intraclip adapt --answers`"
        )
    if isinstance(source, Split) or folder:
        if network is None:
            from intraclip.embed.default import networks_here, path_of
            from intraclip.embed.network import load  # loads torch

            network = load(path_of(next(networks_here())))
        split = source if isinstance(source, Split) else read_split(Path(str(source)))
        if told is not None:  # before the work of embedding
            told.of([t.name for t in (*split.train, *split.test)])
        yield from_folder(split, network, progress=progress)
    elif isinstance(source, Embeddings | Gallery) or is_gallery(source):
        if data is not None:
            raise ConfigError("--data goes with an embeddings file; a gallery holds its own pictures")
        if isinstance(source, Embeddings):
            yield from_embeddings(source)
        elif isinstance(source, Gallery):
            with source.linked_alone() if lock else nullcontext():
                yield from_gallery(source)
        else:
            with open_gallery(source) as gallery, gallery.linked_alone():
                gallery.audit("link", {}, origin="library")
                yield from_gallery(gallery)
    elif not isinstance(source, str | Path):
        raise DataError(
            f"{type(source).__name__} cannot be linked; give embeddings, such as ic.Embeddings(features=..., pids=..., "
            "camids=..., is_query=...), a Split, a gallery, or the path of one of these"
        )
    else:
        chosen = data if isinstance(data, Split) or data is None else read_split(data)
        yield from_file(Path(source), chosen)


def _sources(given: Input, travel: TravelTimes | None, notes: list[str]) -> tuple[str, ...]:
    """Recordings as `Evidence` takes them; where one is unknown, the tracklet's times are compared with none."""
    if given.times is None or not given.sources:
        return ()
    timed = np.flatnonzero(np.isfinite(given.times).all(axis=1)).tolist()
    unknown = sum(not given.sources[row] for row in timed)
    if not unknown:
        return given.sources
    why = f"nothing says which recordings {unknown} tracklets are from"
    remedy = "if each camera has one recording, or all times are on its clock, add --one-clock"
    if travel is not None and travel.ways:
        raise ConfigError(f"--travel needs one clock a camera, and {why}; {remedy}")
    folder = "name the folder of `intraclip ingest` with --data, or, " if given.gallery is None else ""
    notes.append(f"{why}, so their times were compared with none and forbid nothing; {folder}{remedy}")
    return kept_apart(given.sources)


def _calibration(
    calibration: MatchCalibration | Embeddings,
    given: Input,
    distance: Distance | None,
    notes: list[str],
) -> MatchCalibration:
    """A calibration as it is, or fitted on labelled embeddings."""
    if isinstance(calibration, MatchCalibration):
        return calibration
    size, ours = calibration.features.shape[1], given.features.shape[1]
    if size != ours:
        raise DataError(
            f"the labelled embeddings have {size} numbers each, those to link {ours}: they are of another network; "
            "calibrate on labelled embeddings of the same"
        )
    from intraclip.metrics.match_fit import fit_calibration  # loads scipy

    metric = distance or given.metric or "cosine"
    found = fit_calibration(calibration, metric=metric, fingerprint=calibration.fingerprint)
    # A copy of a tracklet has the same vector.
    fitted = {row.tobytes() for row in calibration.features[calibration.pids > 0]}
    known = () if given.pids is None else given.features[given.pids > 0]
    if shared := sum(row.tobytes() in fitted for row in known):
        notes.append(
            f"{shared} of the {len(given.names)} tracklets are among those that the calibration was fitted on, so "
            "scores against known pids are too good; calibrate on other people to know how well it works"
        )
    return found


def _scores(given: Input, people: People) -> LinkScores | None:
    """Scores where identities are known."""
    if given.pids is None or not (given.pids > 0).any():
        return None
    frames = None
    if given.tracklets:
        frames = np.array([len(given.tracklets[name]) for name in given.names], dtype=np.int64)
    return score_people(people.person, given.pids, frames)
