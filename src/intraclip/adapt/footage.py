"""A site's tracklets, with what the footage itself says about them: cameras, times, recordings. No identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.core.media import decode_picture
from intraclip.data.in_memory import ArrayTracklet
from intraclip.data.readers import read_split
from intraclip.data.readers.manifest import manifest_of
from intraclip.embed.origin import times_of
from intraclip.errors import DataError
from intraclip.gallery.folder_files import FILE
from intraclip.gallery.gallery import Gallery, is_server, open_gallery
from intraclip.link.agglomeration import Indices
from intraclip.link.source import from_gallery, kept_apart, recordings
from intraclip.types import UNKNOWN_PID, Split, Tracklet


@dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
    """Tracklets of one site.

    Attributes:
        root: folder or address, for messages and the run's record.
        tracklets: N of them; pids are hidden (`UNKNOWN_PID`), whatever the data say.
        times: seconds of first and last frame, float64 ``[N, 2]``, NaN where unknown; None without any.
        sources: recording of each tracklet; times are compared inside one alone.
    """

    root: Path
    tracklets: tuple[Tracklet, ...]
    times: npt.NDArray[np.float64] | None
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.tracklets)

    @property
    def camids(self) -> Indices:
        """Camera of each tracklet, int64 ``[N]``."""
        return np.array([t.camid for t in self.tracklets], dtype=np.int64)

    def take(self, rows: Sequence[int]) -> Footage:
        """Some tracklets, in the order given."""
        return replace(
            self,
            tracklets=tuple(self.tracklets[row] for row in rows),
            times=None if self.times is None else self.times[list(rows)],
            sources=tuple(self.sources[row] for row in rows),
        )


def gallery_in(source: str | Path | Split | Gallery) -> Gallery | str | Path | None:
    """The gallery that a source is; None if it is something else."""
    if isinstance(source, str | Path):
        return source if is_server(source) or (Path(source) / FILE).exists() else None
    return source if isinstance(source, Gallery) else None


def piece(tracklet: Tracklet, indices: Sequence[int], *, name: str = "") -> Tracklet:
    """Some frames of a tracklet, as one of its own."""
    frames = tuple(tracklet.frames[i] for i in indices)
    name = name or tracklet.name
    if isinstance(tracklet, ArrayTracklet):
        pictures = [tracklet.pictures[i] for i in indices]
        return replace(tracklet, name=name, frames=frames, pictures=pictures)
    return replace(tracklet, name=name, frames=frames)


def read_footage(sources: Sequence[str | Path | Split | Gallery], *, fingerprint: str = "") -> Footage:
    """The tracklets of data folders and galleries, of all their subsets; who is who in them is not looked at.

    Cameras of the same number are one camera. Times of two sources are not compared.

    Args:
        sources: data folders in any known layout, splits, galleries (open, or their folder or address).
        fingerprint: of the network that will learn; a gallery of another one is refused.

    Raises:
        DataError: nothing there, or a gallery that another network made or that holds no pictures.
    """
    if not sources:
        raise DataError("no tracklets to learn from; name at least one folder or gallery")
    parts = []
    for source in sources:
        if isinstance(source, Gallery):
            parts.append(_of_gallery(source, fingerprint))
        elif isinstance(source, Split):
            parts.append(_of_split(source))
        elif gallery_in(source) is not None:
            with open_gallery(source) as gallery:
                gallery.audit("adapt", {}, origin="library")
                parts.append(_of_gallery(gallery, fingerprint))
        else:
            parts.append(_of_split(read_split(source)))
    if len(parts) == 1:
        return parts[0]
    return Footage(
        root=parts[0].root,
        tracklets=tuple(
            replace(t, name=f"{number}/{t.name}") for number, p in enumerate(parts, 1) for t in p.tracklets
        ),
        times=np.concatenate([np.full((len(p), 2), np.nan) if p.times is None else p.times for p in parts])
        if any(p.times is not None for p in parts)
        else None,
        sources=tuple(f"{number}/{s}" for number, p in enumerate(parts, 1) for s in p.sources),
        notes=tuple(note for p in parts for note in p.notes),
    )


def _of_split(split: Split) -> Footage:
    together = replace(split, train=(), query=(), gallery=(*split.train, *split.test))
    times = times_of(together)
    manifest = {} if times is None else manifest_of(split.root)
    names = [t.name for t in together.gallery]
    return Footage(
        root=split.root,
        tracklets=tuple(replace(t, pid=UNKNOWN_PID) for t in together.gallery),
        times=times,
        # A time of an unknown recording is compared with none.
        sources=kept_apart(recordings(names, [manifest.get(n, {}).get("video", "") for n in names])),
    )


def _of_gallery(gallery: Gallery, fingerprint: str) -> Footage:
    if fingerprint and gallery.info.fingerprint != fingerprint:
        raise DataError(
            f"the gallery {gallery.info.address} was made with {gallery.info.model or 'another network'} "
            f"(fingerprint {gallery.info.fingerprint[:12]}), not with the network to adapt ({fingerprint[:12]}); adapt "
            "that one, or name the folder of tracklets instead"
        )
    given = from_gallery(gallery)
    tracklets: list[Tracklet] = []
    rows = []
    for row, name in enumerate(given.names):
        crops = gallery.crops(name)
        if crops:
            what = f"a crop of {name}"
            pictures = [decode_picture(np.frombuffer(data, dtype=np.uint8), what) for data in crops]
            tracklets.append(replace(ArrayTracklet.of(pictures, name=name), camid=int(given.camids[row])))
            rows.append(row)
    where = gallery.info.address
    if not tracklets:
        raise DataError(
            f"the gallery {where} holds no pictures of its tracklets; name their data folder instead"
        )
    left = len(given.names) - len(rows)
    notes = (f"{left} tracklets of {where} have no pictures and were left out",) if left else ()
    sources = kept_apart(given.sources) if given.sources else ("",) * len(given.names)
    return Footage(
        root=Path(where),
        tracklets=tuple(tracklets),
        times=None if given.times is None else given.times[rows],
        sources=tuple(sources[row] for row in rows),
        notes=(*given.notes, *notes),
    )
