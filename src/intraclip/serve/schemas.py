"""What the API takes and gives, as pydantic models; FastAPI checks the one and documents both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from intraclip.errors import DataError
from intraclip.gallery.gallery import MAX_RESULTS
from intraclip.gallery.records import (
    MAX_ID_BYTES,
    AuditEntry,
    Counts,
    Filters,
    Judgement,
    Match,
    TrackletRecord,
    check_name,
)
from intraclip.live.alerts import Alert
from intraclip.live.status import LiveStatus
from intraclip.live.watchlist import MOST_TRACKLETS, Learned

MAX_NAME = 512
NAME_PATTERN = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=NAME_PATTERN)]
"""A camera or person; printable, at most `MAX_NAME` characters."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=NAME_PATTERN)]
"""A tracklet's id. Any text may be one, ``../x`` too: ids are looked up, and never part of a path."""


def _label(text: str) -> str:
    try:
        check_name(text, what="a label")
    except DataError:
        raise ValueError(
            f"a label is text of at most {MAX_ID_BYTES} bytes in UTF-8, without control characters, line breaks and "
            "characters that turn its direction"
        ) from None
    return text


Label = Annotated[Name, AfterValidator(_label)]
"""A person's label as the gallery takes it: printable, so that it cannot turn the text around it either."""

IdQuery = Annotated[Id, Query(alias="id", description="The tracklet's id.")]

Names = Annotated[list[Name], Field(max_length=100)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown keys are refused: a misspelt filter must not widen a deletion."""

    model_config = ConfigDict(extra="forbid")


class Chosen(Strict):
    """Which tracklets count; what is given must all hold."""

    camera: Names = Field(default=[], description="Only these cameras.")
    person: Names = Field(default=[], description="Only these person labels.")
    source: Names = Field(default=[], description="Only these videos or data folders.")
    from_s: Finite | None = Field(default=None, description="Ends at or after this second of its video.")
    to_s: Finite | None = Field(default=None, description="Starts at or before this second of its video.")
    since: Finite | None = Field(default=None, description="Ends at or after this time, Unix seconds.")
    until: Finite | None = Field(default=None, description="Starts at or before this time, Unix seconds.")

    def filters(self) -> Filters:
        """As the gallery takes them."""
        return Filters(
            cameras=frozenset(self.camera) if self.camera else None,
            people=frozenset(self.person) if self.person else None,
            sources=frozenset(self.source) if self.source else None,
            from_s=self.from_s,
            to_s=self.to_s,
            since=self.since,
            until=self.until,
        )


class Listing(Chosen):
    """A page of a list."""

    limit: int = Field(default=60, ge=1, le=MAX_RESULTS)
    cursor: Annotated[str, StringConstraints(max_length=MAX_NAME)] = Field(
        default="", description="`cursor` of the page before; empty for the first."
    )


class SearchOptions(Chosen):
    """What every search takes."""

    k: int = Field(default=20, ge=1, le=MAX_RESULTS, description="Answers wanted.")
    false_match_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Say which answers pass when this share of strangers may; needs calibration.",
    )


class TrackletSearch(SearchOptions):
    """Search by a tracklet of the gallery."""

    tracklet: Id
    own_camera: bool = Field(default=False, description="Search the tracklet's own camera too.")


class PairIn(Strict):
    """Two tracklets."""

    query: Id
    tracklet: Id


class JudgementIn(PairIn):
    """A human's word on two tracklets."""

    same: bool = Field(description="True confirms that both show the same person, False rejects it.")


class WatchIn(Strict):
    """Whom to look for."""

    tracklets: Annotated[list[Id], Field(min_length=1, max_length=MOST_TRACKLETS)]
    name: Label = Field(default="", description="What the person is called in alerts.")
    rate: float = Field(
        default=0.001, gt=0, lt=0.5, description="Share of strangers' tracklets that may pass as this person."
    )


class LabelIn(Strict):
    """Who is on tracklets."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_RESULTS)]
    person: Label = Field(description="Name or number; empty takes a label away.")


class DeletionIn(Strict):
    """Which tracklets to remove for good: either ids, or all of a person."""

    ids: Annotated[list[Id], Field(max_length=MAX_RESULTS)] = []
    person: Name = ""
    dry_run: bool = Field(default=False, description="Only count.")

    @model_validator(mode="after")
    def _one(self) -> DeletionIn:
        if bool(self.ids) == bool(self.person):
            raise ValueError("name either ids or a person")
        return self


class TrackletOut(BaseModel):
    """A tracklet as lists show it."""

    id: str
    camera: str
    camid: int
    start_s: float | None
    end_s: float | None
    started_at: float | None
    num_frames: int
    source: str
    person: str
    added_at: float

    @classmethod
    def of(cls, record: TrackletRecord) -> TrackletOut:
        """Without boxes, of which there may be thousands."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class TrackletDetail(TrackletOut):
    """All that is known about a tracklet."""

    frames: int = Field(description="Pictures to play: /tracklet/frames/0 and so on.")
    strip: bool = Field(description="Whether there is a film strip.")
    boxes: list[list[float]] = Field(description="frame, left, top, width, height in pixels of the source.")
    judgements: list[Judgement]


class TrackletPage(BaseModel):
    """A page of a list, in order of ids."""

    tracklets: list[TrackletOut]
    cursor: str = Field(description="Hand it in for the next page; empty at the end.")


class MatchOut(BaseModel):
    """One answer of a search."""

    rank: int
    distance: float
    probability: float | None = Field(description="That it is the same person; none without calibration.")
    passes: bool | None = Field(description="Whether it passes at the chosen false-match rate.")
    judged: bool | None = Field(description="Confirmed (true), rejected (false), or not judged.")
    tracklet: TrackletOut

    @classmethod
    def of(cls, match: Match, judged: bool | None) -> MatchOut:
        """With what was said about it."""
        return cls(**vars(match), judged=judged, tracklet=TrackletOut.of(match.record))


class SearchOut(BaseModel):
    """Answers, best first."""

    query: TrackletOut | None = Field(description="The tracklet that was searched for; none for an upload.")
    pictures: int = Field(description="Pictures that an upload was embedded from.")
    matches: list[MatchOut]
    metric: str
    threshold: float | None = Field(description="Distance below which an answer passes.")
    false_match_rate: float | None
    exact: bool = Field(description="Whether every tracklet that the filters leave was compared.")


class PersonOut(BaseModel):
    """A person label and its tracklets."""

    person: str
    tracklets: int


class TimelineOut(BaseModel):
    """Where and when a person was seen, in order of time."""

    person: str = Field(description="The label; empty where nobody gave one.")
    tracklets: list[TrackletOut]
    cameras: dict[str, int]
    conflicts: list[Judgement] = Field(
        description="Rejections inside the group: the judgements contradict each other."
    )
    truncated: bool = Field(description="There are more than are shown.")


@dataclass(frozen=True, kw_only=True)
class StatsOut(Counts):
    """Counts of the gallery, and what this service can do with it."""

    model: str
    fingerprint: str
    dimension: int
    metric: str
    calibrated: bool
    false_match_rates: Annotated[
        list[float], Field(description="Whole decades that the calibration can resolve.")
    ]
    uploads: Annotated[
        bool, Field(description="Whether pictures and clips can be searched for: a model is loaded.")
    ]
    max_upload_bytes: int
    max_files: int
    actor: Annotated[str, Field(description="Who the service takes you for.")]
    read_only: Annotated[bool, Field(description="Whether your token may look and search only.")]


class AuditPage(BaseModel):
    """Lines, newest first."""

    entries: list[AuditEntry]
    cursor: int | None = Field(description="Hand it in as `before` for older lines; none at the end.")


class ErrorOut(BaseModel):
    """A refusal."""

    error: str
    message: str


class ProblemOut(BaseModel):
    """A value that is wrong; the value itself is not repeated."""

    where: str
    problem: str


class InvalidOut(ErrorOut):
    """A request with wrong values."""

    problems: list[ProblemOut] = []


@dataclass(frozen=True, kw_only=True)
class LiveOut(LiveStatus):
    """How the cameras are; `watching` is false where this process watches none."""

    watching: bool = False


class QuestionOut(BaseModel):
    """Two tracklets to ask a person about."""

    query: TrackletOut | None = Field(default=None, description="None where nothing is worth asking.")
    tracklet: TrackletOut | None = None
    pairs: int = Field(default=0, description="Pairs of tracklets that the answer may settle.")
    reason: str = Field(default="", description="Why nothing is worth asking.")


@dataclass(frozen=True, kw_only=True)
class AlertOut(Alert):
    """An alert, with the tracklet that passed and the one of the person that it was compared with."""

    tracklet: TrackletOut  # type: ignore[assignment]
    reference: TrackletOut  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class WatchedOut(Learned):
    """A person on the watch-list, and what was learned."""

    id: str
    name: str
    rate: float
    added_at: float
    tracklets: list[TrackletOut]
