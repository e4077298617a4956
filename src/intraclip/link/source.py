"""What is linked: an embeddings file with its data folder, a gallery, or embeddings in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from intraclip.data.readers.folder import find_manifest
from intraclip.data.readers.manifest import manifest_of
from intraclip.embed.default import calibration_of
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.embeddings_writer import PARQUET
from intraclip.errors import DataError
from intraclip.gallery.folder_files import FILE
from intraclip.gallery.gallery import Gallery, is_server
from intraclip.link.agglomeration import Indices
from intraclip.link.changes import Before
from intraclip.link.kept import kept_in
from intraclip.link.told import Said, said_of
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.types import JUNK_PID, Split, Tracklet

if TYPE_CHECKING:
    from intraclip.embed.network import Network

# Names of `intraclip ingest`: the view of its video (intraclip.ingest.cameras.view_names), then the track. A gallery
# may put a prefix in front. Other systems' names are not guessed at: "cam1_0007" says nothing about recordings.
_INGESTED = re.compile(r"(.*?cam\d+(?:v\d+)?)_t\d{4,}(?:p\d+)?", re.DOTALL)

_ALONE = "\0 "


@dataclass(frozen=True, kw_only=True)
class Input:
    """What is linked, wherever it came from.

    Attributes:
        names: of the tracklets ``[N]``.
        features: float32 ``[N, D]``.
        camids: int64 ``[N]``, as `pids`, which are None where identities are unknown.
        times: seconds ``[N, 2]``, NaN where unknown, or None.
        sources: recording of each tracklet, an empty text where unknown; empty if a camera's times are on one clock.
        metric: distance that the source is made for; None leaves it open.
        fingerprint: of what made the embeddings; empty if unknown.
        calibration: that the source holds.
        cameras: names of cameras, where they have any.
        strip: name of a tracklet -> film strip, JPEG, empty where there is none; None without pictures.
        tracklets: of the data folder, by name.
        manifest: rows of the data folder's manifest, by name; empty without one.
        said: by people, about its tracklets; None where nothing is kept with it.
        before: the linking that it keeps; None without one.
        gallery: open; None for anything else.
    """

    names: tuple[str, ...]
    features: npt.NDArray[np.float32]
    camids: Indices
    pids: Indices | None = None
    times: npt.NDArray[np.float64] | None = None
    sources: tuple[str, ...] = ()
    metric: Literal["euclidean", "cosine"] | None = None
    fingerprint: str = ""
    calibration: MatchCalibration | None = None
    cameras: dict[int, str] = field(default_factory=dict)
    strip: Callable[[str], bytes] | None = None
    tracklets: dict[str, Tracklet] = field(default_factory=dict)
    manifest: dict[str, Mapping[str, str]] = field(default_factory=dict)
    said: Said | None = None
    before: Before | None = None
    gallery: Gallery | None = None
    notes: tuple[str, ...] = ()


def is_gallery(source: object) -> bool:
    """Whether a source is the address of a gallery, not an embeddings file."""
    return isinstance(source, str | Path) and (is_server(source) or Path(source).is_dir())


def is_data_folder(source: object) -> bool:
    """Whether a source is the path of a folder of tracklets with a manifest, such as `intraclip ingest` writes."""
    path = Path(source) if isinstance(source, str | Path) else None
    if path is None or not path.is_dir() or (path / FILE).exists():
        return False
    return find_manifest(path) is not None


def from_folder(
    split: Split, network: Network, *, progress: Callable[[int, int], None] | None = None
) -> Input:
    """A data folder, whose tracklets are embedded first."""
    from intraclip.embed.extract_job import extract_split  # loads torch

    with TemporaryDirectory() as folder:
        file = Path(folder) / "embeddings.npz"
        extract_split(network.extractor, split, network.settings, file, progress=progress)
        return from_file(file, split)


def from_embeddings(e: Embeddings) -> Input:
    """Embeddings in memory; junk is left out."""
    names = e.names or tuple(f"row {row}" for row in range(len(e)))
    kept = np.flatnonzero(e.pids != JUNK_PID)
    left_out = f"{len(e) - len(kept)} tracklets of pid -1 (junk) were left out"
    return Input(
        names=tuple(names[i] for i in kept.tolist()),
        features=e.features[kept],
        camids=e.camids[kept],
        pids=e.pids[kept],
        fingerprint=e.fingerprint,
        calibration=calibration_of(e.fingerprint),
        notes=(left_out,) if len(kept) < len(e) else (),
    )


def from_file(path: Path, data: Split | None) -> Input:
    """An embeddings file, with the data that it was made from where they are there."""
    file = read_embeddings(path)
    given = from_embeddings(file.embeddings)
    tracklets: dict[str, Tracklet] = {}
    if data is not None:
        tracklets = {t.name: t for t in (*data.train, *data.test)}
        missing = [name for name in given.names if name not in tracklets]
        if missing:
            raise DataError(
                f"{len(missing)} tracklets of {path} are not in {data.root}, such as {missing[0]}; name the folder "
                "that the embeddings were made from"
            )
    manifest = {} if data is None else manifest_of(data.root)
    return replace(
        given,
        times=None if file.times is None else file.times[file.embeddings.pids != JUNK_PID],
        sources=recordings(given.names, [manifest.get(n, {}).get("video", "") for n in given.names]),
        strip=_strips(tracklets) if tracklets else None,
        tracklets={name: tracklets[name] for name in given.names} if tracklets else {},
        manifest=manifest,
        notes=(*file.notes, *given.notes),
    )


def from_gallery(gallery: Gallery) -> Input:
    """A gallery: what it holds, with its metric, calibration and pictures."""
    # What is deleted between the two is left out.
    records = list(gallery.all_records())
    vectors = gallery.find_vectors([record.id for record in records])
    records = [record for record in records if record.id in vectors]
    if not records:
        raise DataError(
            f"the gallery {gallery.info.address} is empty; add tracklets with `intraclip gallery add`"
        )
    names = tuple(record.id for record in records)
    # Numbers of cameras are kept where each stands for one camera; two data folders may number theirs alike.
    cameras = sorted({(record.camid, record.camera) for record in records})
    keep = len({number for number, _ in cameras}) == len(cameras)
    number_of = {camera: (camera[0] if keep else place) for place, camera in enumerate(cameras, start=1)}
    # Wall clocks compare everywhere; seconds in a video only within that video.
    wall = all(record.started_at is not None for record in records)
    times = np.full((len(records), 2), np.nan)
    notes = []
    ahead = [wall and record.seen_at != record.started_at for record in records]
    dated = sum(record.started_at is not None for record in records)
    if dated and not wall:
        undated = next(record.id for record in records if record.started_at is None)
        notes.append(
            f"{len(records) - dated} of {len(records)} tracklets, such as {undated}, have no date, so those of the "
            "others were not used: times count within each recording alone; add all with --started-at"
        )
    if any(ahead):
        notes.append(
            f"{sum(ahead)} tracklets, such as {names[ahead.index(True)]}, have times after they were added to the "
            "gallery: a clock was wrong, or --started-at was; their times were compared with none and forbid nothing"
        )
    if not keep:
        notes.append("the gallery numbers several cameras alike; they were numbered anew, by name")
    backwards = []
    for row, record in enumerate(records):
        if ahead[row] or record.start_s is None or record.end_s is None:
            continue
        if record.start_s > record.end_s:
            backwards.append(record.id)
        else:
            start = record.started_at if wall and record.started_at is not None else record.start_s
            times[row] = start, start + record.end_s - record.start_s
    if backwards:
        notes.append(
            f"{len(backwards)} tracklets, such as {backwards[0]}, end before they start; their times were compared "
            "with none and forbid nothing"
        )
    # What was added from an embeddings file has that file as its source, which may hold many videos.
    videos = ["" if Path(r.source).suffix.lower() in (".npz", *PARQUET) else r.source for r in records]

    return Input(
        names=names,
        features=np.stack([vectors[name] for name in names]).astype(np.float32),
        camids=np.array([number_of[record.camid, record.camera] for record in records], dtype=np.int64),
        times=times,
        sources=() if wall else recordings(names, videos),
        metric=gallery.info.metric,
        fingerprint=gallery.info.fingerprint,
        calibration=gallery.calibration(),
        cameras={number: camera[1] for camera, number in number_of.items()},
        strip=gallery.strip,
        said=said_of({record.id: record.person for record in records}, gallery.judgements()),
        before=kept_in(gallery),
        gallery=gallery,
        notes=tuple(notes),
    )


def _strips(tracklets: dict[str, Tracklet]) -> Callable[[str], bytes]:
    from intraclip.gallery.pictures import pictures_of

    return lambda name: pictures_of(tracklets[name], crops=0).strip


def recordings(names: Sequence[str], videos: Sequence[str] = ()) -> tuple[str, ...]:
    """Recording of every tracklet, by its name and its video; tracklets with the same text share a recording.

    The name counts beside the video: Monday's and Tuesday's video of a camera may both be called ``cam1.mp4``.

    Args:
        names: of the tracklets ``[N]``.
        videos: file name of each one's video ``[N]``, empty texts where unknown; or empty.

    Returns:
        A text for each ``[N]``; empty where neither says anything.

    >>> recordings(["cam1_t0001", "cam1v2_t0001p2", "tracklet 7"])
    ('cam1', 'cam1v2', '')
    """
    found = [_INGESTED.fullmatch(name) for name in names]
    views = [match[1] if match else "" for match in found]
    return tuple(
        " ".join(filter(None, parts)) for parts in zip(views, videos or [""] * len(views), strict=True)
    )


def kept_apart(sources: Sequence[str]) -> tuple[str, ...]:
    r"""The same recordings, and one of its own for every tracklet whose recording is unknown (an empty text).

    Times of different recordings are not compared, so unknown ones forbid nothing.

    >>> kept_apart(["cam1", "", ""])
    ('cam1', '\x00 1', '\x00 2')
    """
    return tuple(source or f"{_ALONE}{row}" for row, source in enumerate(sources))


def is_unknown(source: str) -> bool:
    """Whether `kept_apart` made this recording up, for one tracklet alone."""
    return source.startswith(_ALONE)
