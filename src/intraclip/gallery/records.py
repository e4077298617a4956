"""What a gallery holds, what is asked of it, and what it answers.

Times: `start_s` and `end_s` are seconds from the start of the tracklet's own video. `started_at` and every other
name in ``_at`` are Unix seconds (UTC).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

from intraclip.errors import DataError
from intraclip.metrics.distance import Distance

MAX_ID_BYTES = 512
"""Longest tracklet id, camera, source or person, in bytes of UTF-8."""


class Box(NamedTuple):
    """A person's box in one frame of the source.

    Attributes:
        frame: number of the frame in the video, from 0.
        left: of the box in pixels, as the other three.
    """

    frame: int
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackletRecord:
    """All that is known about a tracklet in a gallery, except its vector and its pictures.

    Attributes:
        id: unique in the gallery.
        camera: name of the camera; filters and "own camera" go by it.
        camid: number of the camera in the data it came from.
        start_s: seconds from the start of the video to the first frame; None where unknown.
        end_s: to the last frame.
        started_at: wall clock of the first frame, Unix seconds; None where unknown.
        num_frames: frames of the tracklet; 0 where unknown.
        source: the video, or the data folder, that it came from.
        boxes: where the person was, in order of time; empty where unknown.
        person: name or number of the person, given by a human; empty while unknown.
        added_at: when it was added, Unix seconds; the gallery sets it where it is 0.

    Raises:
        DataError: an id, camera or other name is empty, too long, or holds control characters; a time is not finite.
    """

    id: str
    camera: str
    camid: int = 0
    start_s: float | None = None
    end_s: float | None = None
    started_at: float | None = None
    num_frames: int = 0
    source: str = ""
    boxes: tuple[Box, ...] = ()
    person: str = ""
    added_at: float = 0.0

    def __post_init__(self) -> None:
        for name, text in (("id", self.id), ("camera", self.camera)):
            if not text:
                raise DataError(
                    f"tracklet {self.id!r}: its {name} is empty; every tracklet needs an id and a camera"
                )
        for name in ("id", "camera", "source", "person"):
            check_name(getattr(self, name), what=f"tracklet {self.id[:80]!r}: its {name}")
        for name in ("start_s", "end_s", "started_at", "added_at"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise DataError(f"tracklet {self.id!r}: {name} is {value}; use None where it is unknown")

    @property
    def seen_at(self) -> float:
        """Unix seconds that its age counts from: `started_at`, or `added_at` where that is unknown or earlier.

        Nobody is seen after having been added: such a time was mistyped, or a clock was wrong.
        """
        return self.added_at if self.started_at is None else min(self.started_at, self.added_at)

    def to_json_dict(self) -> dict[str, Any]:
        """As JSON holds it; boxes are lists of five numbers."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "boxes": [list(b) for b in self.boxes],
        }

    @classmethod
    def from_json_dict(cls, found: Mapping[str, Any]) -> TrackletRecord:
        """The inverse of `to_json_dict`; unknown keys are ignored."""
        known = {f.name: found[f.name] for f in fields(cls) if f.name in found}
        return cls(**{**known, "boxes": tuple(Box(*b) for b in known.get("boxes", ()))})


def check_name(text: str, *, what: str) -> None:
    """Refuse names that are too long, or hold control characters, with a `DataError`."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise DataError(f"{what} is {len(text):,} characters long; at most {MAX_ID_BYTES} bytes are allowed")
    if not text.isprintable():
        raise DataError(f"{what} is {text!r}; it may hold no control characters or line breaks")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Pictures of a tracklet, as JPEG files in memory.

    Attributes:
        strip: film strip, a few frames side by side; empty when there is none.
        crops: frames in order of time, for playing the tracklet.
    """

    strip: bytes = b""
    crops: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Pictures(strip of {len(self.strip)} bytes, {len(self.crops)} crops)"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which tracklets count. None means "any"; what is given must all hold. An empty set matches nothing.

    Attributes:
        people: person labels; "" stands for tracklets without one.
        from_s: seconds in the video: tracklets that end at or after it.
        to_s: seconds in the video: tracklets that start at or before it.
        since: wall clock, Unix seconds: tracklets that end at or after it; those without `started_at` are left out.
        until: wall clock: tracklets that start at or before it; likewise.
        seen_before: tracklets whose `seen_at` is earlier; for retention.
        seen_after: tracklets whose `seen_at` is later; with the present time those that a wrong clock put ahead of it.
    """

    ids: frozenset[str] | None = None
    exclude_ids: frozenset[str] = frozenset()
    cameras: frozenset[str] | None = None
    exclude_cameras: frozenset[str] = frozenset()
    people: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    from_s: float | None = None
    to_s: float | None = None
    since: float | None = None
    until: float | None = None
    seen_before: float | None = None
    seen_after: float | None = None

    def texts(self) -> list[tuple[str, frozenset[str], bool]]:
        """What is asked of a record's texts: which field, texts, and whether it must be one of them or none of them."""
        wanted = {"id": self.ids, "camera": self.cameras, "person": self.people, "source": self.sources}
        unwanted = {"id": self.exclude_ids, "camera": self.exclude_cameras}
        return [
            *((name, texts, True) for name, texts in wanted.items() if texts is not None),
            *((name, texts, False) for name, texts in unwanted.items() if texts),
        ]

    def times(self) -> list[tuple[str, Literal["<", "<=", ">=", ">"], float]]:
        """What is asked of a record's times, none of which passes where it is unknown: which, comparison, and time.

        ``first_s`` and ``last_s`` are `start_s` and `end_s`, one standing for the other where that is unknown;
        ``last_at`` is `started_at` at the end of the tracklet.
        """
        found: list[tuple[str, Literal["<", "<=", ">=", ">"], float | None]] = [
            ("last_s", ">=", self.from_s),
            ("first_s", "<=", self.to_s),
            ("last_at", ">=", self.since),
            ("started_at", "<=", self.until),
            ("seen_at", "<", self.seen_before),
            ("seen_at", ">", self.seen_after),
        ]
        return [(name, sign, value) for name, sign, value in found if value is not None]

    def for_audit(self) -> dict[str, Any]:
        """What is given, for the audit log, which outlives people's labels: how many were named, not which."""
        told = {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in asdict(self).items()
            if value is not None and value != frozenset()
        }
        if "people" in told:
            told["people"] = len(told["people"])
        return {"filters": told} if told else {}


@dataclass(frozen=True, kw_only=True)
class GalleryInfo:
    """What a gallery was made for; it never changes.

    Attributes:
        fingerprint: of the model whose embeddings it takes, see `intraclip.models.fingerprint`.
        metric: ``euclidean`` or ``cosine``; under ``cosine`` vectors are brought to length 1 on their way in.
        format_version: of the stored form.
        created_at: Unix seconds.
    """

    address: str
    fingerprint: str
    model: str
    dimension: int
    metric: Distance
    format_version: int
    created_at: float


@dataclass(frozen=True, kw_only=True)
class AddResult:
    """What became of tracklets that were added.

    Attributes:
        skipped: tracklets that were there already, with the same content.
    """

    added: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """One answer.

    Attributes:
        rank: from 1, best first.
        probability: that it is the same person, 0..1; None without a calibration.
        passes: whether `distance` is below the threshold of the chosen false-match rate; None without one.
    """

    rank: int
    record: TrackletRecord
    distance: float
    probability: float | None = None
    passes: bool | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """As JSON holds it, without boxes."""
        record = self.record.to_json_dict()
        del record["boxes"]
        return {
            "rank": self.rank,
            **record,
            "distance": self.distance,
            "probability": self.probability,
            "passes": self.passes,
        }


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found.

    Attributes:
        matches: best first; fewer than asked for when the filters leave fewer.
        threshold: distance below which a match passes; None without a calibration or a false-match rate.
        exact: whether every tracklet that the filters leave was compared; False where an index chose some.
    """

    matches: tuple[Match, ...]
    metric: str
    threshold: float | None = None
    false_match_rate: float | None = None
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Page:
    """Part of a list of records, in order of their ids.

    Attributes:
        cursor: hand it in for the next page; empty at the end.
    """

    records: tuple[TrackletRecord, ...]
    cursor: str


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What a deletion removed, or would remove.

    Attributes:
        ids: of the tracklets, sorted.
        cameras: tracklets by camera.
        people: tracklets by person label; those without one are not counted.
        judgements: human judgements removed, because one of their two tracklets is gone.
        dry_run: nothing was removed, only counted.
        complete: the bytes are gone from every file of the store. False while another process that still reads the
            older state holds them back (they go with the next write after it), or where a server decides when.
        note: what `complete` being False means here; empty otherwise.
    """

    ids: tuple[str, ...]
    cameras: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, int] = field(default_factory=dict)
    pictures: int = 0
    judgements: int = 0
    dry_run: bool = False
    complete: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A human's word on two tracklets.

    Attributes:
        query: tracklet id that was searched for.
        tracklet: tracklet id that was found.
        same: the same person (confirmed), or not (rejected).
        by: who said so; may be empty.
        at: Unix seconds.
    """

    query: str
    tracklet: str
    same: bool
    by: str = ""
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line of the audit log; lines are only ever appended.

    Attributes:
        number: ascending, without order between processes of a server store.
        at: Unix seconds.
        action: one word, such as ``search`` or ``delete``.
        detail: what JSON can hold.
        origin: from where, such as ``command line`` or a network address; may be empty.
    """

    number: int
    at: float
    action: str
    actor: str
    detail: Mapping[str, Any]
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a store counts.

    Attributes:
        people: tracklets by person label; those without one are not counted.
        start_s: earliest second in any video; None where unknown.
        end_s: latest.
        started_at: earliest wall clock; None where unknown.
        ended_at: latest wall clock of a first frame.
        size_bytes: on disk; None where a server does not say.
        index: how searches are made, in words.
    """

    tracklets: int
    cameras: Mapping[str, int]
    people: Mapping[str, int]
    sources: Mapping[str, int]
    start_s: float | None
    end_s: float | None
    started_at: float | None
    ended_at: float | None
    judgements: int
    size_bytes: int | None
    index: str


@dataclass(frozen=True, kw_only=True)
class Stats(Counts):
    """Counts of a gallery, and what it is."""

    info: GalleryInfo
    calibrated: bool
