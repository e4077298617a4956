"""`intraclip link`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from intraclip.cli.common import (
    ForPrograms,
    print_json,
    print_table,
    print_tracks,
    progress_bar,
    read_data,
    say,
    some,
    tell,
)
from intraclip.cli.gallery_flags import audited
from intraclip.cli.network import Networked, or_default

if TYPE_CHECKING:
    from intraclip.gallery.gallery import Gallery
    from intraclip.link.people import People
    from intraclip.link.source import Input
    from intraclip.types import Split

SHOWN = 20
"""People in the table of the terminal; people.csv holds all."""


@dataclass(frozen=True, kw_only=True)
class LinkArgs(Networked, ForPrograms):
    """Group the tracklets of several cameras into people.

    Tracklets that one camera saw at the same time are kept apart. How alike two must be comes from --calibration, from
    --threshold, or else from the footage itself: how near two people come in it by chance.
    """

    source: tyro.conf.Positional[str]
    """Embeddings file (.npz or .parquet, of `intraclip extract` or any system), a gallery, or a folder of tracklets as
    `intraclip ingest` writes it."""
    model: Path | None = None
    """For a folder of tracklets: a run folder or checkpoint, an exported file, a name of `intraclip models list`, or a
    TOML file. Without it, the strongest network that is here by name."""
    out: Path
    """Folder for people.csv, people.html and, with --data, labels for training (tracklets.csv). Where it holds an
    earlier linking, this one takes its place, and people keep their numbers and names."""
    calibration: Path | None = None
    """What distances mean: a calibration (.json), or labelled embeddings of the same network to make one from."""
    save_calibration: Path | None = None
    """Write the calibration made from labelled embeddings to this .json file, for next time."""
    prior: float | None = None
    """With a calibration: chance that a random pair shows one person, about 1 / people. By default as where it was
    calibrated."""
    probability: float | None = None
    """Join groups while their pairs are on average this likely. Higher: fewer wrong people in a group, more people
    found as several. 0.2 with a calibration, 0.9 with the one that comes with `base`, else 0.5."""
    threshold: float | None = None
    """Without a calibration: join groups while their mean distance is below this."""
    distance: Literal["euclidean", "cosine"] | None = None
    """Distance between embeddings. By default that of the calibration or gallery, else cosine."""
    travel: Path | None = None
    """TOML file of travel times between cameras, and of clocks (docs/link.md)."""
    no_travel: bool = False
    """Learn no travel times from the footage."""
    one_clock: bool = False
    """The times of each camera are on one clock, as of one recording. Needed where neither --data nor names as
    `intraclip ingest` gives them say which recording a tracklet is from; times of two recordings are not compared."""
    one_per_camera: bool = False
    """A person has at most one tracklet in each camera."""
    answers: Path | None = None
    """CSV file of what you know about pairs: query, tracklet, judgement (same, different, unsure). A gallery has its
    own."""
    labels: Path | None = None
    """CSV file of who is on tracklets: tracklet, and name or pid; an earlier people.csv or tracklets.csv that you
    corrected. A gallery has its own."""
    data: Path | None = None
    """Data folder of the tracklets: film strips on the page, frames to weight scores by, and labels for training."""
    truth: Path | None = None
    """True boxes, to score by: a folder of MOTChallenge files, one a camera (cam1.txt), whose ids are the same person
    in all of them, or a file of the AI City Challenge. Needs the folder of `intraclip ingest`."""
    renumber: bool = False
    """Number people from 1, whatever an earlier linking called them; labels of a gallery stay."""
    title: str = "People across cameras"
    """Title of the page."""


def main(args: LinkArgs) -> int:
    """Run the command."""
    from intraclip.core.extras import require_extra
    from intraclip.errors import ConfigError, OutputError
    from intraclip.link.output import TRAVEL, output_folder
    from intraclip.link.source import is_data_folder, is_gallery

    require_extra("jinja2", extra="report", purpose="the page of people")
    if args.truth is not None:
        require_extra("trackers", extra="ingest", purpose="scores of tracks")
        if args.data is None and not is_data_folder(args.source):
            raise ConfigError("--truth needs the tracks of `intraclip ingest`; name its folder with --data")
    if args.calibration is None and args.save_calibration is not None:
        raise ConfigError("--save-calibration needs --calibration")
    if args.save_calibration is not None and args.save_calibration.exists():
        raise OutputError(f"{args.save_calibration} exists; choose another --save-calibration")
    if args.travel is not None and args.travel.absolute() == (args.out / TRAVEL).absolute():
        raise ConfigError(
            f"--travel: {args.travel} would be replaced by this linking; copy it elsewhere first"
        )
    if args.data is not None and is_gallery(args.source):
        raise ConfigError("--data goes with an embeddings file; a gallery holds its own pictures")
    if args.save_calibration is not None and args.calibration and args.calibration.suffix.lower() == ".json":
        raise ConfigError(f"--save-calibration: {args.calibration} is a calibration already")
    if is_data_folder(args.source):
        if args.data is not None:
            raise ConfigError(f"--data goes with an embeddings file; {args.source} is a data folder itself")
        args = or_default(replace(args, data=Path(args.source)))
    elif any(flag is not None for flag in (args.model, args.head, args.engine, args.device)):
        raise ConfigError(
            "--model, --engine and --device embed a folder of tracklets; a file or gallery is embedded already"
        )
    with output_folder(args.out) as folder:
        shown = _link(args, folder)
    shown()
    return 0


def _link(args: LinkArgs, folder: Path) -> Callable[[], None]:
    """Group, and write into a folder that takes the place of --out; what is returned prints."""
    from intraclip.core.files import write_json, write_text
    from intraclip.errors import DataError, OutputError
    from intraclip.gallery.gallery import open_gallery
    from intraclip.ingest.camera_tracks import read_tracks
    from intraclip.ingest.track_scores import score_tracks
    from intraclip.link.boxes import by_camera, person_tracks, write_tracks
    from intraclip.link.kept import keep_in
    from intraclip.link.linking import link
    from intraclip.link.output import (
        LABELS,
        PEOPLE,
        TRAVEL,
        is_linking,
        people_rows,
        write_labels,
        write_linking,
        write_people,
    )
    from intraclip.link.source import is_data_folder, is_gallery
    from intraclip.report.people import write_people_page
    from intraclip.report.strips import jpeg_address

    truth = None if args.truth is None else read_tracks(args.truth)
    network = None
    if is_data_folder(args.source):
        network = args.open_network()
    split = read_data(args.data) if args.data is not None else None
    source: str | Split | Gallery = args.source if network is None or split is None else split
    labelled = args.calibration is not None and args.calibration.suffix.lower() != ".json"
    with ExitStack() as stack:
        if isinstance(source, str) and is_gallery(source):
            source = stack.enter_context(open_gallery(source))
            audited(source, "link", {})
            stack.enter_context(source.linked_alone())
        update = stack.enter_context(progress_bar("frames"))
        people = link(
            source,
            data=split if network is None else None,
            network=network,
            calibration=args.calibration,
            prior=args.prior,
            probability=args.probability,
            threshold=args.threshold,
            distance=args.distance,
            travel=args.travel,
            one_clock=args.one_clock,
            one_per_camera=args.one_per_camera,
            no_travel=args.no_travel,
            answers=args.answers,
            labels=args.labels,
            before=args.out if is_linking(args.out) and not args.renumber else None,
            renumber=args.renumber,
            keep=False,
            progress=update,
        )
        given, notes, calibration = people.given, list(people.notes), people.calibration
        if labelled and calibration is not None:
            say(
                f"calibrated on {calibration.people} people: {calibration.genuine_pairs:,} pairs of one "
                f"person, {calibration.impostor_pairs:,} of two"
            )
        write_people(folder / PEOPLE, people)
        transit = people.evidence.transit
        if transit is not None:
            write_text(folder / TRAVEL, transit.text(), replace=False)
        labels = None
        if given.tracklets:
            try:
                labels = write_labels(folder / LABELS, people, given.tracklets.values(), given.manifest)
            except DataError as error:
                notes.append(f"no labels for training: {error}")
        views = {} if args.data is None else person_tracks(args.data, given.manifest, people)
        write_tracks(folder, views)
        tracked = None
        if truth is not None:
            if not views:
                raise DataError(f"{args.data} holds no tracks of `intraclip ingest` to score")
            tracked = score_tracks(truth, by_camera(views))
        strip = given.strip
        write_people_page(
            folder / "people.html",
            people,
            title=args.title,
            picture=None if strip is None else lambda name: jpeg_address(strip(name)),
            cameras=given.cameras,
            sentences=notes,
        )
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        write_linking(folder, people, sorted(files))
        if given.gallery is not None:
            still = given.gallery.find(people.names)
            if gone := [name for name in people.names if name not in still]:
                raise OutputError(
                    f"{len(gone)} tracklets, such as {gone[0]}, were deleted from the gallery {args.source} while its "
                    "people were written down; nothing of that is kept, link it again"
                )
            keep_in(given.gallery, people, given.before)

    def show() -> None:
        if args.save_calibration is not None and calibration is not None:
            # Now that it is known to fit.
            write_json(args.save_calibration, calibration.to_json_dict(), replace=False)
        scores = asdict(people.scores) if people.scores is not None else None
        if args.json:
            print_json(
                {
                    "rule": people.rule,
                    "people": people.count,
                    "across_cameras": _across(people),
                    "tracklets": people_rows(people),
                    "changes": None if people.changes is None else asdict(people.changes),
                    "scores": scores,
                    "tracks": None if tracked is None else tracked.to_json_dict(),
                    "travel": None if transit is None else transit.to_json_dict(),
                    "notes": notes,
                }
            )
        else:
            _print(people, given, scores)
            if tracked is not None:
                print_tracks(tracked)
            for note in notes:
                tell(f"note: {note}")
            if transit is not None:
                tell(f"the times between cameras are in {args.out / TRAVEL}, as --travel reads them")
            if labels is not None and not labels[0]:
                tell("no labels for training: nobody was found in two cameras")
            elif labels is not None:
                file = args.out / LABELS
                tell(
                    f"{labels[0]} people and {labels[1]} tracklets in {file}: to train on them, look at the page, "
                    f"correct the pids, then: intraclip train --data {args.data} --labels {file} --model.weights RUN "
                    "--out OUT"
                )
        say(f"the page is {args.out / 'people.html'}")

    return show


def _across(people: People) -> int:
    """People in two cameras or more."""
    return sum(len(people.cameras(person)) > 1 for person in people.numbers)


def _print(people: People, given: Input, scores: dict[str, Any] | None) -> None:
    import numpy as np

    named = {c: given.cameras.get(c, str(c)) for c in given.camids.tolist()}
    rows = []
    for person in people.numbers[:SHOWN]:
        members = people.members(person)
        if len(members) < 2:
            break
        probability = people.probability[members]
        least = f"{100 * probability.min():.0f} %" if np.isfinite(probability).all() else "-"
        shown = ", ".join(people.names[row] for row in members[:4].tolist())
        more = f" and {len(members) - 4} more" if len(members) > 4 else ""
        cameras = ", ".join(named[camera] for camera in people.cameras(person))
        rows.append(
            [f"{people.labels.get(person, person)}: {shown}{more}", cameras, str(len(members)), least]
        )
    if rows:
        print_table(["person", "cameras", "tracklets", "least likely"], rows)
    sizes = np.unique(people.person, return_counts=True)[1]
    tell(
        f"{len(people.names):,} tracklets, {people.count:,} people: "
        f"{_across(people):,} in two cameras or more, "
        f"{int((sizes == 1).sum()):,} seen once"
    )
    tell(f"one person when: {people.rule}")
    if people.changes is not None:
        tell(people.changes.summary())
        for line in some(
            list(people.changes.lines(people.labels)), SHOWN, where=", on the page and in --json"
        ):
            tell(f"  {line}")
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
