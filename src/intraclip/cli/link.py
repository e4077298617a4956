"""`intraclip link`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from intraclip.cli.common import parse, print_json, print_table, read_data, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.link.people import People
    from intraclip.metrics.match_probability import MatchCalibration
    from intraclip.types import Tracklet

SHOWN = 20
"""People in the table of the terminal; people.csv holds all."""


@dataclass(frozen=True, kw_only=True)
class LinkArgs:
    """Group the tracklets of several cameras into people.

    Tracklets that one camera saw at the same time are kept apart. How alike two must be comes from --calibration, from
    --threshold, or else from the data: the grouping with the best silhouette.
    """

    source: tyro.conf.Positional[str]
    """Embeddings file (.npz or .parquet, of `intraclip extract` or any system), or a gallery."""
    out: Path
    """Folder for people.csv, people.html and, with --data, labels for training (tracklets.csv)."""
    calibration: Path | None = None
    """What distances mean: a calibration (.json), or labelled embeddings of the same network to make one from."""
    save_calibration: Path | None = None
    """Write the calibration made from labelled embeddings to this .json file, for next time."""
    prior: float | None = None
    """With a calibration: chance that a random pair shows one person, about 1 / people. By default as where it was
    calibrated."""
    probability: float = 0.2
    """With a calibration: join groups while their pairs are on average this likely. Higher: fewer wrong people in a
    group, more people found as several."""
    threshold: float | None = None
    """Without a calibration: join groups while their mean distance is below this."""
    distance: Literal["euclidean", "cosine"] | None = None
    """Distance between embeddings. By default that of the calibration or gallery, else cosine."""
    travel: Path | None = None
    """TOML file of travel times between cameras, and of clocks (docs/link.md)."""
    one_per_camera: bool = False
    """A person has at most one tracklet in each camera."""
    data: Path | None = None
    """Data folder of the tracklets: film strips on the page, frames to weight scores by, and labels for training."""
    title: str = "People across cameras"
    """Title of the page."""
    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """What is linked, wherever it came from.

    Attributes:
        names: of the tracklets ``[N]``.
        features: float32 ``[N, D]``.
        camids: int64 ``[N]``.
        pids: int64 ``[N]``; None where identities are unknown.
        times: seconds ``[N, 2]``, NaN where unknown, or None.
        sources: recording of each tracklet; empty if there is one a camera.
        metric: distance that the source is made for; None leaves it open.
        fingerprint: of what made the embeddings; empty if unknown.
        calibration: that the source holds.
        cameras: names of cameras, where they have any.
        strip: name of a tracklet -> film strip as a ``data:`` address; None without pictures.
        tracklets: of the data folder, by name.
        notes: in sentences.
    """

    names: tuple[str, ...]
    features: npt.NDArray[np.float32]
    camids: npt.NDArray[np.int64]
    pids: npt.NDArray[np.int64] | None = None
    times: npt.NDArray[np.float64] | None = None
    sources: tuple[str, ...] = ()
    metric: Literal["euclidean", "cosine"] | None = None
    fingerprint: str = ""
    calibration: MatchCalibration | None = None
    cameras: dict[int, str] = field(default_factory=dict)
    strip: Callable[[str], str] | None = None
    tracklets: dict[str, Tracklet] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(LinkArgs, argv, command="link")
    from intraclip.errors import ConfigError, require_empty_folder, require_extra

    require_empty_folder(args.out, remedy="choose another --out")
    require_extra("jinja2", extra="report", purpose="the page of people")
    if args.calibration is None:
        for name in ("prior", "save_calibration"):
            if getattr(args, name) is not None and not (name == "prior" and _is_gallery(args.source)):
                raise ConfigError(f"--{name.replace('_', '-')} needs --calibration")
    if args.data is not None and _is_gallery(args.source):
        raise ConfigError("--data goes with an embeddings file; a gallery holds its own pictures")
    with ExitStack() as stack:  # a gallery stays open until its pictures are on the page
        _link(args, stack)
    return 0


def _link(args: LinkArgs, stack: ExitStack) -> None:
    """Read, group, write and print."""
    from intraclip.errors import DataError
    from intraclip.link.evidence import Evidence
    from intraclip.link.output import people_rows, write_labels, write_people
    from intraclip.link.people import link
    from intraclip.link.travel import read_travel_times
    from intraclip.report.people import write_people_page

    travel = read_travel_times(args.travel) if args.travel is not None else None
    given = (
        _from_gallery(args.source, stack)
        if _is_gallery(args.source)
        else _from_file(Path(args.source), args.data)
    )
    calibration = _calibration(args, given)
    metric = args.distance or given.metric or (calibration.metric if calibration else "cosine")
    if calibration is not None:
        calibration.require(metric=metric, fingerprint=given.fingerprint)
    notes = list(given.notes)
    if travel is not None and (strangers := sorted(travel.cameras - set(given.camids.tolist()))):
        notes.append(f"{args.travel} names cameras without tracklets: {', '.join(map(str, strangers))}")
    evidence = Evidence(
        features=given.features,
        camids=given.camids,
        metric=metric,
        calibration=calibration,
        times=given.times,
        sources=given.sources,
        travel=travel,
        one_per_camera=args.one_per_camera,
    )
    people = link(evidence, given.names, threshold=args.threshold, probability=args.probability)
    scores = _scores(given, people)
    write_people(args.out / "people.csv", people)
    labels = None
    if given.tracklets:
        try:
            labels = write_labels(args.out / "tracklets.csv", people, given.tracklets.values())
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
            print(f"note: {note}")
        if labels is not None:
            print(
                f"{labels[0]} people and {labels[1]} tracklets in {args.out / 'tracklets.csv'}: to train on them, look "
                f"at the page, correct the pids, and put the file into {args.data}"
            )
    say(f"the page is {args.out / 'people.html'}")


def _is_gallery(source: str) -> bool:
    from intraclip.gallery.gallery import is_server

    return is_server(source) or Path(source).is_dir()


def _from_file(path: Path, data: Path | None) -> Input:
    """An embeddings file, with its data folder if there is one."""
    import numpy as np

    from intraclip.engine.embeddings_io import read_embeddings
    from intraclip.errors import DataError
    from intraclip.types import JUNK_PID

    file = read_embeddings(path)
    e = file.embeddings
    notes = list(file.notes)
    names = e.names or tuple(f"row {row}" for row in range(len(e)))
    kept = np.flatnonzero(e.pids != JUNK_PID)
    if len(kept) < len(e):
        notes.append(f"{len(e) - len(kept)} tracklets of pid -1 (junk) were left out")
    tracklets: dict[str, Tracklet] = {}
    if data is not None:
        split = read_data(data)
        tracklets = {t.name: t for t in (*split.train, *split.test)}
        missing = [names[i] for i in kept.tolist() if names[i] not in tracklets]
        if missing:
            raise DataError(
                f"{len(missing)} tracklets of {path} are not in {data}, such as {missing[0]}; name the folder that the "
                "embeddings were made from"
            )
    chosen = tuple(names[i] for i in kept.tolist())
    return Input(
        names=chosen,
        features=e.features[kept],
        camids=e.camids[kept],
        pids=e.pids[kept],
        times=None if file.times is None else file.times[kept],
        sources=_recordings(data, chosen),
        fingerprint=file.fingerprint,
        strip=_strips(tracklets) if tracklets else None,
        tracklets={name: tracklets[name] for name in chosen} if tracklets else {},
        notes=tuple(notes),
    )


def _recordings(data: Path | None, names: Sequence[str]) -> tuple[str, ...]:
    """Video of each tracklet, as `intraclip ingest` wrote it down; times of two videos of a camera do not compare."""
    from intraclip.data.readers.folder import find_manifest, manifest_rows

    manifest = find_manifest(data) if data is not None else None
    if manifest is None:
        return ()
    videos = {row["tracklet"]: row.get("video", "") for _, row in manifest_rows(manifest)}
    return tuple(videos.get(name, "") for name in names)


def _from_gallery(address: str, stack: ExitStack) -> Input:
    """A gallery: what it holds, with its metric, calibration and pictures."""
    import base64

    import numpy as np

    from intraclip.errors import DataError
    from intraclip.gallery.gallery import open_gallery

    gallery = stack.enter_context(open_gallery(address))
    records = list(gallery.all_records())
    if not records:
        raise DataError(f"the gallery {address} is empty; add tracklets with `intraclip gallery add`")
    names = tuple(record.id for record in records)
    # Numbers of cameras are kept where each stands for one camera; two data folders may number theirs alike.
    cameras = sorted({(record.camid, record.camera) for record in records})
    keep = len({number for number, _ in cameras}) == len(cameras)
    number_of = {camera: (camera[0] if keep else place) for place, camera in enumerate(cameras, start=1)}
    # Wall clocks compare everywhere; seconds in a video only within that video.
    wall = all(record.started_at is not None for record in records)
    times = np.full((len(records), 2), np.nan)
    for row, record in enumerate(records):
        if record.start_s is not None and record.end_s is not None:
            start = record.started_at if wall and record.started_at is not None else record.start_s
            times[row] = start, start + record.end_s - record.start_s

    def strip(name: str) -> str:
        jpeg = gallery.strip(name)
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}" if jpeg else ""

    return Input(
        names=names,
        features=np.asarray(gallery.vectors(names), dtype=np.float32),
        camids=np.array([number_of[record.camid, record.camera] for record in records], dtype=np.int64),
        times=times,
        sources=() if wall else tuple(record.source for record in records),
        metric=gallery.info.metric,
        fingerprint=gallery.info.fingerprint,
        calibration=gallery.calibration(),
        cameras={number: camera[1] for camera, number in number_of.items()},
        strip=strip,
        notes=()
        if keep
        else ("the gallery numbers several cameras alike; they were numbered anew, by name",),
    )


def _strips(tracklets: dict[str, Tracklet]) -> Callable[[str], str]:
    from intraclip.report.strips import evenly_spaced, film_strip, jpeg_uri, load_frames

    def strip(name: str) -> str:
        tracklet = tracklets[name]
        frames = load_frames(tracklet, evenly_spaced(len(tracklet), 3), height=128, width=64)
        return jpeg_uri(film_strip(frames))

    return strip


def _calibration(args: LinkArgs, given: Input) -> MatchCalibration | None:
    """The calibration to use: of --calibration, else of the gallery; none where a threshold is given instead."""
    from intraclip.engine.embeddings_io import read_embeddings
    from intraclip.engine.run import write_json
    from intraclip.errors import ConfigError, OutputError
    from intraclip.metrics.match_probability import fit_calibration, read_calibration

    path = args.calibration
    if path is None:
        found = given.calibration if args.threshold is None else None
    elif path.suffix.lower() == ".json":
        if args.save_calibration is not None:
            raise ConfigError(f"--save-calibration: {path} is a calibration already")
        found = read_calibration(path)
    else:
        labelled = read_embeddings(path)
        metric = args.distance or given.metric or "cosine"
        found = fit_calibration(labelled.embeddings, metric=metric, fingerprint=labelled.fingerprint)
        say(
            f"calibrated on {found.people} people: {found.genuine_pairs:,} pairs of one person, "
            f"{found.impostor_pairs:,} of two"
        )
        if args.save_calibration is not None:
            if args.save_calibration.exists():
                raise OutputError(f"{args.save_calibration} exists; choose another --save-calibration")
            write_json(args.save_calibration, found.to_json_dict())
    if args.prior is None:
        return found
    if found is None:
        raise ConfigError("--prior needs a calibration; this gallery has none")
    return found.with_prior(args.prior)


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
    print(
        f"{len(people.names):,} tracklets, {people.count:,} people: "
        f"{sum(len(people.cameras(p)) > 1 for p in range(1, people.count + 1)):,} in two cameras or more, "
        f"{int((sizes == 1).sum()):,} seen once"
    )
    print(f"one person when: {people.rule}")
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
    print(
        f"{scores['known']:,} tracklets of {scores['identities']:,} known people, found as {scores['people']:,}; "
        f"identities {weighted}"
    )
