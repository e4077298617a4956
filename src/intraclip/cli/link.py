"""`intraclip link`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from intraclip.cli.common import parse, print_json, print_table, say, tell
from intraclip.cli.link_input import (
    Input,
    from_file,
    from_folder,
    from_gallery,
    is_data_folder,
    is_gallery,
)
from intraclip.cli.model_flag import Networked
from intraclip.cli.network import or_default

if TYPE_CHECKING:
    from intraclip.link.people import People
    from intraclip.link.travel import TravelTimes
    from intraclip.metrics.match_probability import MatchCalibration
    from intraclip.types import Embeddings

LIKELY, SURE = 0.2, 0.9
"""Probabilities that join groups: of a calibration on labelled tracklets like these, and of one from elsewhere."""

SHOWN = 20
"""People in the table of the terminal; people.csv holds all."""


@dataclass(frozen=True, kw_only=True)
class LinkArgs(Networked):
    """Group the tracklets of several cameras into people.

    Tracklets that one camera saw at the same time are kept apart. How alike two must be comes from --calibration, from
    --threshold, or else from the data: the grouping with the best silhouette.
    """

    source: tyro.conf.Positional[str]
    """Embeddings file (.npz or .parquet, of `intraclip extract` or any system), a gallery, or a folder of tracklets as
    `intraclip ingest` writes it."""
    model: Path | None = None
    """For a folder of tracklets: a run folder or checkpoint, an exported file, a name of `intraclip models list`, or a
    TOML file. Without it, the strongest network that is here by name."""
    head: Path | None = None
    """Run whose head aggregates the vectors of another network named by --model; by default they are averaged (TAP)."""
    out: Path
    """Folder for people.csv, people.html and, with --data, labels for training (tracklets.csv)."""
    calibration: Path | None = None
    """What distances mean: a calibration (.json), or labelled embeddings of the same network to make one from."""
    save_calibration: Path | None = None
    """Write the calibration made from labelled embeddings to this .json file, for next time."""
    prior: float | None = None
    """With a calibration: chance that a random pair shows one person, about 1 / people. By default as where it was
    calibrated."""
    probability: float | None = None
    """With a calibration: join groups while their pairs are on average this likely. Higher: fewer wrong people in a
    group, more people found as several. 0.2 where nothing is said, 0.9 with the calibration that comes with `base`."""
    threshold: float | None = None
    """Without a calibration: join groups while their mean distance is below this."""
    distance: Literal["euclidean", "cosine"] | None = None
    """Distance between embeddings. By default that of the calibration or gallery, else cosine."""
    travel: Path | None = None
    """TOML file of travel times between cameras, and of clocks (docs/link.md)."""
    one_clock: bool = False
    """The times of each camera are on one clock, as of one recording. Needed where neither --data nor names as
    `intraclip ingest` gives them say which recording a tracklet is from; times of two recordings are not compared."""
    one_per_camera: bool = False
    """A person has at most one tracklet in each camera."""
    data: Path | None = None
    """Data folder of the tracklets: film strips on the page, frames to weight scores by, and labels for training."""
    title: str = "People across cameras"
    """Title of the page."""
    json: bool = False
    """Print the result as JSON."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(LinkArgs, argv, command="link")
    from intraclip.errors import (
        ConfigError,
        OutputError,
        leaving_nothing,
        require_empty_folder,
        require_extra,
    )

    require_empty_folder(args.out, remedy="choose another --out")
    require_extra("jinja2", extra="report", purpose="the page of people")
    if args.calibration is None and args.save_calibration is not None:
        raise ConfigError("--save-calibration needs --calibration")
    if args.save_calibration is not None and args.save_calibration.exists():
        raise OutputError(f"{args.save_calibration} exists; choose another --save-calibration")
    if args.data is not None and is_gallery(args.source):
        raise ConfigError("--data goes with an embeddings file; a gallery holds its own pictures")
    if is_data_folder(args.source):
        if args.data is not None:
            raise ConfigError(f"--data goes with an embeddings file; {args.source} is a data folder itself")
        args = or_default(replace(args, data=Path(args.source)))
    elif args.run is not None or args.encoder is not None:
        raise ConfigError("--model embeds a folder of tracklets; a file or gallery is embedded already")
    # A gallery stays open until its pictures are on the page.
    with ExitStack() as stack, leaving_nothing(args.out):
        _link(args, stack)
    return 0


def _link(args: LinkArgs, stack: ExitStack) -> None:
    """Read, group, write and print."""
    from intraclip.core.files import write_json
    from intraclip.errors import ConfigError, DataError
    from intraclip.link.evidence import Evidence
    from intraclip.link.output import people_rows, write_labels, write_people
    from intraclip.link.people import link
    from intraclip.link.travel import read_travel_times
    from intraclip.report.people import write_people_page

    travel = read_travel_times(args.travel) if args.travel is not None else None
    if args.data is not None and is_data_folder(args.source):
        from intraclip.embed.extract import open_extractor

        given = from_folder(args.data, *open_extractor(args.run, encoder=args.encoder))
    elif is_gallery(args.source):
        given = from_gallery(args.source, stack)
    else:
        given = from_file(Path(args.source), args.data)
    notes = list(given.notes)
    calibration = fitted = _calibration(args, given, notes)
    if args.prior is not None:
        if fitted is None:
            raise ConfigError(
                "--prior needs a calibration, and nothing here has one; name one with --calibration"
            )
        calibration = fitted.with_prior(args.prior)
    if fitted is not None and fitted.learned_from:
        notes.append(
            f"probabilities were learned from {fitted.learned_from}; your own labelled embeddings: --calibration"
        )
    metric = args.distance or given.metric or (calibration.metric if calibration else "cosine")
    if calibration is not None:
        calibration.require(metric=metric, fingerprint=given.fingerprint)
    if travel is not None and (strangers := sorted(travel.cameras - set(given.camids.tolist()))):
        notes.append(f"{args.travel} names cameras without tracklets: {', '.join(map(str, strangers))}")
    evidence = Evidence(
        features=given.features,
        camids=given.camids,
        metric=metric,
        calibration=calibration,
        times=given.times,
        sources=_sources(args, given, travel, notes),
        travel=travel,
        one_per_camera=args.one_per_camera,
    )
    probability = args.probability
    if probability is None:  # probabilities learned elsewhere are too sure of themselves (docs/base.md)
        probability = SURE if fitted is not None and fitted.learned_from else LIKELY
    people = link(evidence, given.names, threshold=args.threshold, probability=probability)
    scores = _scores(given, people)
    write_people(args.out / "people.csv", people)
    labels = None
    if given.tracklets:
        try:
            labels = write_labels(
                args.out / "tracklets.csv", people, given.tracklets.values(), given.manifest
            )
        except DataError as error:
            notes.append(f"no labels for training: {error}")
    write_people_page(
        args.out / "people.html",
        people,
        title=args.title,
        picture=given.strip,
        cameras=given.cameras,
        sentences=notes,
    )
    if args.save_calibration is not None and fitted is not None:
        # Now that it is known to fit.
        write_json(args.save_calibration, fitted.to_json_dict(), replace=False)
    if args.json:
        print_json(
            {
                "rule": people.rule,
                "people": people.count,
                "across_cameras": sum(len(people.cameras(p)) > 1 for p in range(1, people.count + 1)),
                "tracklets": people_rows(people),
                "scores": scores,
                "notes": [*notes, *people.notes],
            }
        )
    else:
        _print(people, given, scores)
        for note in (*notes, *people.notes):
            tell(f"note: {note}")
        if labels is not None:
            tell(
                f"{labels[0]} people and {labels[1]} tracklets in {args.out / 'tracklets.csv'}: to train on them, look "
                f"at the page, correct the pids, then: intraclip train --data {args.data} --labels "
                f"{args.out / 'tracklets.csv'} --model.weights RUN --out OUT"
            )
    say(f"the page is {args.out / 'people.html'}")


def _sources(args: LinkArgs, given: Input, travel: TravelTimes | None, notes: list[str]) -> tuple[str, ...]:
    """Recordings as `Evidence` takes them; where one is unknown, the tracklet's times are compared with none."""
    import numpy as np

    from intraclip.errors import ConfigError
    from intraclip.link.recordings import kept_apart

    if args.one_clock or given.times is None or not given.sources:
        return ()
    timed = np.flatnonzero(np.isfinite(given.times).all(axis=1)).tolist()
    unknown = sum(not given.sources[row] for row in timed)
    if not unknown:
        return given.sources
    why = f"nothing says which recordings {unknown} tracklets are from"
    remedy = "if each camera has one recording, or all times are on its clock, add --one-clock"
    if travel is not None and travel.travel:
        raise ConfigError(f"--travel needs one clock a camera, and {why}; {remedy}")
    notes.append(
        f"{why}, so their times were compared with none and forbid nothing; name the folder of `intraclip ingest` "
        f"with --data, or, {remedy}"
    )
    return kept_apart(given.sources)


def _calibration(args: LinkArgs, given: Input, notes: list[str]) -> MatchCalibration | None:
    """The calibration of --calibration, else of the gallery; none where a threshold is given instead."""
    from intraclip.embed.embeddings_io import read_embeddings
    from intraclip.errors import ConfigError
    from intraclip.metrics.match_probability import fit_calibration, read_calibration

    path = args.calibration
    if path is None:
        found = given.calibration if args.threshold is None else None
        if found is not None and found.learned_from and args.distance not in (None, found.metric):
            return None  # nobody asked for it
        return found
    if path.suffix.lower() == ".json":
        if args.save_calibration is not None:
            raise ConfigError(f"--save-calibration: {path} is a calibration already")
        return read_calibration(path)
    labelled = read_embeddings(path)
    metric = args.distance or given.metric or "cosine"
    found = fit_calibration(labelled.embeddings, metric=metric, fingerprint=labelled.fingerprint)
    say(
        f"calibrated on {found.people} people: {found.genuine_pairs:,} pairs of one person, "
        f"{found.impostor_pairs:,} of two"
    )
    shared = _shared(given, labelled.embeddings)
    if shared:
        notes.append(
            f"{shared} of the {len(given.names)} tracklets are among those that the calibration was fitted on, so "
            "scores against known pids are too good; calibrate on other people to know how well it works"
        )
    return found


def _shared(given: Input, labelled: Embeddings) -> int:
    """Tracklets with a known pid that are in the labelled embeddings too: a copy has the same vectors."""
    if given.pids is None or given.features.shape[1] != labelled.features.shape[1]:
        return 0
    fitted = {row.tobytes() for row in labelled.features[labelled.pids > 0]}
    return sum(row.tobytes() in fitted for row in given.features[given.pids > 0])


def _scores(given: Input, people: People) -> dict[str, Any] | None:
    """Scores where identities are known."""
    import numpy as np

    from intraclip.link.scores import score_people

    if given.pids is None or not (given.pids > 0).any():
        return None
    frames = None
    if given.tracklets:
        frames = np.array([len(given.tracklets[name]) for name in given.names], dtype=np.int64)
    return score_people(people.person, given.pids, frames).to_json_dict()


def _print(people: People, given: Input, scores: dict[str, Any] | None) -> None:
    import numpy as np

    named = {c: given.cameras.get(c, str(c)) for c in given.camids.tolist()}
    rows = []
    for person in range(1, min(people.count, SHOWN) + 1):
        members = people.members(person)
        if len(members) < 2:
            break
        probability = people.probability[members]
        least = f"{100 * probability.min():.0f} %" if np.isfinite(probability).all() else "-"
        shown = ", ".join(people.names[row] for row in members[:4].tolist())
        more = f" and {len(members) - 4} more" if len(members) > 4 else ""
        cameras = ", ".join(named[camera] for camera in people.cameras(person))
        rows.append([f"{person}: {shown}{more}", cameras, str(len(members)), least])
    if rows:
        print_table(["person", "cameras", "tracklets", "least likely"], rows)
    sizes = np.bincount(people.person)[1:]
    tell(
        f"{len(people.names):,} tracklets, {people.count:,} people: "
        f"{sum(len(people.cameras(p)) > 1 for p in range(1, people.count + 1)):,} in two cameras or more, "
        f"{int((sizes == 1).sum()):,} seen once"
    )
    tell(f"one person when: {people.rule}")
    if scores is None:
        return
    table = [
        ["pairs of tracklets", *(f"{100 * scores[key]:.1f}" for key in ("precision", "recall", "f1"))],
        ["B-cubed", *(f"{100 * scores[f'bcubed_{key}']:.1f}" for key in ("precision", "recall", "f1"))],
        ["identities (IDP, IDR, IDF1)", *(f"{100 * scores[key]:.1f}" for key in ("idp", "idr", "idf1"))],
    ]
    print_table(["against known pids, %", "precision", "recall", "F1"], table)
    weighted = (
        "weighted by frames" if scores["weighted"] else "every tracklet counts 1 (--data weights by frames)"
    )
    tell(
        f"{scores['known']:,} tracklets of {scores['identities']:,} known people, found as {scores['people']:,}; "
        f"identities {weighted}"
    )
