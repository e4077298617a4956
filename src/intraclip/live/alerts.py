"""Alerts: tracklets that passed as somebody on the watch-list.

They lie in the gallery as papers and go with either of the two tracklets that they are about. What people say of an
alert is a judgement of the gallery about these two (`Gallery.confirm`, `Gallery.reject`): said on the page of a search,
it counts here too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intraclip.errors import DataError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import Judgement

if TYPE_CHECKING:
    from intraclip.live.watchlist import Hit

ALERT = "alert"
"""Kind of paper."""

AT_ONCE = 500
"""Alerts that are in memory together where all of them are gone through: there may be any number."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        id: ascending; milliseconds since 1970, about.
        at: when it was raised, Unix seconds.
        watched: id of the person on the watch-list.
        name: of the person then; may be empty.
        tracklet: that passed.
        reference: the person's tracklet that is nearest to it.
        started_at: first frame of the tracklet, Unix seconds; None where unknown.
        distance: between the two, in the gallery's metric.
        threshold: below which a tracklet passes.
        rate: the false-match rate that was asked for.
        probability: that both show one person, by the gallery's calibration.
        said: whether people confirmed or rejected it; None while nobody did.
    """

    id: str
    at: float
    watched: str
    name: str
    tracklet: str
    reference: str
    camera: str
    started_at: float | None
    distance: float
    threshold: float
    rate: float
    probability: float
    said: bool | None = None


class Alerts:
    """The alerts of a gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    def raise_for(self, hit: Hit, tracklet: str) -> Alert:
        """Keep an alert about a tracklet of the gallery.

        Raises:
            DataError: the tracklet or the reference was deleted meanwhile.
        """
        record = self._gallery.record(tracklet)
        now = time.time()

        def next_key() -> str:
            # Ascending also where the clock is set back.
            newest = next(iter(self._gallery.papers(ALERT, newest=True, limit=1)), "0")
            return f"{max(int(1000 * now), int(newest) + 1):014d}"

        content = {
            "at": now,
            "watched": hit.watched.id,
            "name": hit.watched.name,
            "camera": record.camera,
            "started_at": record.started_at,
            "distance": hit.distance,
            "threshold": hit.threshold,
            "rate": hit.watched.rate,
            "probability": hit.probability,
        }
        named = [tracklet, hit.reference]
        key = self._gallery.add_paper(ALERT, next_key, content, named, needs_all=True)
        return _alert(key, {**content, "tracklets": named}, {})

    def read(self, *, after: str = "", newest: bool = True, limit: int = 0) -> list[Alert]:
        """Alerts, the newest first or the oldest, at most `limit` (0 for all): all, or those raised after one."""
        found = self._gallery.papers(ALERT, after=after, newest=newest, limit=limit)
        said = _said(self._gallery.judgements()) if found else {}
        return [_alert(key, content, said) for key, content in found.items()]

    def each(self, *, after: str = "") -> Iterator[Alert]:
        """All alerts, or those raised after one, the oldest first, without holding them all."""
        some = self.read(after=after, newest=False, limit=AT_ONCE)
        while some:
            yield from some
            some = self.read(after=some[-1].id, newest=False, limit=AT_ONCE)

    def get(self, key: str) -> Alert:
        """One alert, by its id, which may be without the zeros in front.

        Raises:
            DataError: there is none of this id.
        """
        if key.isdecimal() and key.isascii():
            before = f"{max(int(key) - 1, 0):014d}"
            for found in self.read(after=before, newest=False, limit=1):
                if int(found.id) == int(key):
                    return found
        raise DataError(f"there is no alert {key!r}; it may have gone with a tracklet that was deleted")

    def judge(self, key: str, *, same: bool, by: str = "") -> Judgement:
        """Say whether an alert was right; replaces what was said before.

        Raises:
            DataError: there is none of this id.
        """
        alert = self.get(key)
        return self._gallery.judge(alert.reference, alert.tracklet, same=same, by=by)


def _said(judgements: Iterable[Judgement]) -> dict[frozenset[str], bool]:
    return {frozenset((j.query, j.tracklet)): j.same for j in judgements}


def _alert(key: str, content: dict[str, Any], said: dict[frozenset[str], bool]) -> Alert:
    tracklet, reference = content["tracklets"]
    values = {k: v for k, v in content.items() if k in Alert.__dataclass_fields__}
    return Alert(
        **values,
        id=key,
        tracklet=tracklet,
        reference=reference,
        said=said.get(frozenset((tracklet, reference))),
    )
