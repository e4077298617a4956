"""Cameras that are watched, who is looked for, and what was found."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from intraclip.errors import DataError
from intraclip.live.alerts import Alerts
from intraclip.live.watchlist import Learned, Watched, WatchList
from intraclip.serve.context import Actor, Context, Served
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import AlertOut, ErrorOut, LiveOut, TrackletOut, WatchedOut, WatchIn
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["live"])

MOST = 200
"""Alerts of one answer."""


@router.get("/live")
def live(served: Served) -> LiveOut:
    """How the cameras are that this process watches: frames, people, tracklets, alerts. No pictures, no names."""
    if served.live is None:
        return LiveOut()
    return LiveOut(watching=True, **vars(served.live.status()))


@router.get("/alerts")
def list_alerts(
    served: Served,
    actor: Actor,
    after: Annotated[
        str, Query(pattern=r"^\d*$", max_length=20, description="Only those raised after this one.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> list[AlertOut]:
    """Alerts, the newest first, each with the two tracklets that it is about."""
    served.looked(actor, "alerts")
    alerts = Alerts(served.gallery).read(after=after, limit=limit)
    records = served.gallery.find(sorted({t for a in alerts for t in (a.tracklet, a.reference)}))
    # One of the two may be deleted just now; the alert goes with it.
    return [
        AlertOut(
            **vars(a)
            | {name: TrackletOut.of(records[getattr(a, name)]) for name in ("tracklet", "reference")}
        )
        for a in alerts
        if a.tracklet in records and a.reference in records
    ]


@router.get("/watch-list")
def list_watched(served: Served, actor: Actor) -> list[WatchedOut]:
    """Who is looked for, and what was learned from what people said of the alerts."""
    served.looked(actor, "watch-list")
    return [_watched(served, *found) for found in WatchList(served.gallery).with_learned()]


@router.post("/watch-list", responses={409: {"model": ErrorOut, "description": "There is no calibration."}})
def watch(served: Served, actor: Actor, wanted: WatchIn) -> WatchedOut:
    """Look for a person from now on: `intraclip live` raises an alert when somebody passes as them."""
    for tracklet in wanted.tracklets:
        served.record(tracklet)
    served.require_rate(wanted.rate)
    people = WatchList(served.gallery)
    added = served.audited(
        "watch",
        {"tracklets": wanted.tracklets},
        actor,
        lambda: people.add(wanted.tracklets, rate=wanted.rate, name=wanted.name),
        needs=wanted.tracklets,
    )
    return _watched(served, added, people.learned()[added.id])


@router.delete("/watch-list", status_code=204)
def unwatch(
    served: Served, actor: Actor, person: Annotated[str, Query(alias="id", pattern=r"^\d{1,12}$")]
) -> None:
    """Look for a person no more; tracklets and alerts stay."""
    people = WatchList(served.gallery)
    if person not in {p.id for p in people.people()}:
        raise Refused(404, "nobody on the watch-list has this number")
    try:
        served.audited("unwatch", {"number": person}, actor, lambda: people.remove(person))
    except DataError:  # somebody else was quicker
        raise Refused(404, "nobody on the watch-list has this number") from None


def _watched(served: Context, person: Watched, learned: Learned) -> WatchedOut:
    found = served.gallery.find(person.tracklets)
    told = {k: v for k, v in asdict(person).items() if k != "tracklets"}
    return WatchedOut(
        **told,
        **asdict(learned),
        tracklets=[TrackletOut.of(found[t]) for t in person.tracklets if t in found],
    )
