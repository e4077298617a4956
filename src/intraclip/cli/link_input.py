"""What `intraclip link` reads: an embeddings file with its data folder, or a gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from intraclip.cli.common import progress_bar, read_data
from intraclip.cli.gallery_words import audited

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.config import Recipe
    from intraclip.embed.extractors import Extractor
    from intraclip.metrics.match_probability import MatchCalibration
    from intraclip.types import Tracklet


@dataclass(frozen=True, kw_only=True)
class Input:
    """What is linked, wherever it came from.

    Attributes:
        names: of the tracklets ``[N]``.
        features: float32 ``[N, D]``.
        camids: int64 ``[N]``.
        pids: int64 ``[N]``; None where identities are unknown.
        times: seconds ``[N, 2]``, NaN where unknown, or None.
        sources: recording of each tracklet, an empty text where unknown; empty if a camera's times are on one clock.
        metric: distance that the source is made for; None leaves it open.
        fingerprint: of what made the embeddings; empty if unknown.
        calibration: that the source holds.
        cameras: names of cameras, where they have any.
        strip: name of a tracklet -> film strip as a ``data:`` address; None without pictures.
        tracklets: of the data folder, by name.
        manifest: rows of the data folder's manifest, by name; empty without one.
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
    manifest: dict[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_gallery(source: str) -> bool:
    """Whether a source is a gallery, not an embeddings file."""
    from intraclip.gallery.gallery import is_server

    return is_server(source) or Path(source).is_dir()


def is_data_folder(source: str) -> bool:
    """Whether a source is a folder of tracklets with a manifest, such as `intraclip ingest` writes."""
    from intraclip.data.readers.folder import find_manifest
    from intraclip.gallery.folder_files import FILE

    path = Path(source)
    return path.is_dir() and not (path / FILE).exists() and find_manifest(path) is not None


def from_folder(data: Path, extractor: Extractor, recipe: Recipe) -> Input:
    """A data folder, whose tracklets are embedded first."""
    from tempfile import TemporaryDirectory

    from intraclip.embed.extract_job import extract_split
    from intraclip.embed.extractors import ExtractSettings

    split = read_data(data)
    with TemporaryDirectory() as folder, progress_bar("frames") as update:
        file = Path(folder) / "embeddings.npz"
        extract_split(extractor, split, ExtractSettings.of(recipe), file, progress=update)
        return from_file(file, data)


def from_file(path: Path, data: Path | None) -> Input:
    """An embeddings file, with its data folder if there is one."""
    import numpy as np

    from intraclip.embed.embeddings_io import read_embeddings
    from intraclip.errors import DataError
    from intraclip.link.recordings import recordings
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
    manifest = _manifest(data)
    return Input(
        names=chosen,
        features=e.features[kept],
        camids=e.camids[kept],
        pids=e.pids[kept],
        times=None if file.times is None else file.times[kept],
        sources=recordings(chosen, [manifest.get(name, {}).get("video", "") for name in chosen]),
        fingerprint=file.fingerprint,
        calibration=_shipped_calibration(file.fingerprint),
        strip=_strips(tracklets) if tracklets else None,
        tracklets={name: tracklets[name] for name in chosen} if tracklets else {},
        manifest=manifest,
        notes=tuple(notes),
    )


def _shipped_calibration(fingerprint: str) -> MatchCalibration | None:
    """What is known of the distances of a network that comes with intraclip."""
    from intraclip.config_io import parse_json
    from intraclip.metrics.match_probability import MatchCalibration
    from intraclip.models.zoo import shipped_calibrations

    known = map(parse_json, shipped_calibrations())
    found = next((data for data in known if data["fingerprint"] == fingerprint), None)
    return None if found is None else MatchCalibration.from_json_dict(found)


def _manifest(data: Path | None) -> dict[str, Mapping[str, str]]:
    """Rows of a data folder's manifest by tracklet, as `intraclip ingest` wrote them down."""
    from intraclip.data.readers.folder import find_manifest, manifest_rows

    path = find_manifest(data) if data is not None else None
    return {} if path is None else {row["tracklet"]: row for _, row in manifest_rows(path)}


def from_gallery(address: str, stack: ExitStack) -> Input:
    """A gallery: what it holds, with its metric, calibration and pictures."""
    import base64

    import numpy as np

    from intraclip.embed.embeddings_writer import PARQUET
    from intraclip.errors import DataError
    from intraclip.gallery.gallery import open_gallery
    from intraclip.link.recordings import recordings

    gallery = stack.enter_context(open_gallery(address))
    audited(gallery, "link", {})
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
    notes = []
    ahead = [wall and record.seen_at != record.started_at for record in records]
    if any(ahead):
        notes.append(
            f"{sum(ahead)} tracklets, such as {names[ahead.index(True)]}, have times after they were added to the "
            "gallery: a clock was wrong, or --started-at was; their times were compared with none and forbid nothing"
        )
    if not keep:
        notes.append("the gallery numbers several cameras alike; they were numbered anew, by name")
    for row, record in enumerate(records):
        if ahead[row]:
            continue
        if record.start_s is not None and record.end_s is not None:
            start = record.started_at if wall and record.started_at is not None else record.start_s
            times[row] = start, start + record.end_s - record.start_s

    # What was added from an embeddings file has that file as its source, which may hold many videos.
    videos = ["" if Path(r.source).suffix.lower() in (".npz", *PARQUET) else r.source for r in records]

    def strip(name: str) -> str:
        jpeg = gallery.strip(name)
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}" if jpeg else ""

    return Input(
        names=names,
        features=np.asarray(gallery.vectors(names), dtype=np.float32),
        camids=np.array([number_of[record.camid, record.camera] for record in records], dtype=np.int64),
        times=times,
        sources=() if wall else recordings(names, videos),
        metric=gallery.info.metric,
        fingerprint=gallery.info.fingerprint,
        calibration=gallery.calibration(),
        cameras={number: camera[1] for camera, number in number_of.items()},
        strip=strip,
        notes=tuple(notes),
    )


def _strips(tracklets: dict[str, Tracklet]) -> Callable[[str], str]:
    from intraclip.report.strips import evenly_spaced, film_strip, jpeg_uri, load_frames

    def strip(name: str) -> str:
        tracklet = tracklets[name]
        frames = load_frames(tracklet, evenly_spaced(len(tracklet), 3), height=128, width=64)
        return jpeg_uri(film_strip(frames))

    return strip
