"""Tracklets: lists, one of them, its pictures; and deleting them for good.

Ids stand in the query and not in the path: ids with slashes or dots would be read as paths on their way here.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from intraclip.gallery.records import Deleted, Filters
from intraclip.serve.context import Actor, Served
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import DeletionIn, IdQuery, Listing, TrackletDetail, TrackletOut, TrackletPage
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["tracklets"])
deletions = APIRouter(prefix=API, tags=["deletions"])


class Jpeg(Response):
    """A JPEG file."""

    media_type = "image/jpeg"


@router.get("/tracklets")
def list_tracklets(served: Served, actor: Actor, listing: Annotated[Listing, Query()]) -> TrackletPage:
    """List tracklets in order of their ids, a page at a time."""
    page = served.gallery.page(listing.filters(), limit=listing.limit, cursor=listing.cursor)
    detail = {"shown": len(page.records), **listing.filters().for_audit()}
    served.gallery.audit("list", detail, actor=actor.name, origin=actor.address)
    return TrackletPage(tracklets=[TrackletOut.of(r) for r in page.records], cursor=page.cursor)


@router.get("/tracklet")
def get_tracklet(served: Served, actor: Actor, tracklet: IdQuery) -> TrackletDetail:
    """All that is known about a tracklet."""
    record = served.record(tracklet)
    served.looked(actor, "look", tracklet)
    return TrackletDetail(
        **TrackletOut.of(record).model_dump(),
        frames=len(served.gallery.crops(tracklet)),
        strip=bool(served.gallery.strip(tracklet)),
        boxes=[list(b) for b in record.boxes],
        judgements=[j for j in served.gallery.judgements() if tracklet in (j.query, j.tracklet)],
    )


@router.get("/tracklet/strip", response_class=Jpeg)
def get_strip(served: Served, actor: Actor, tracklet: IdQuery) -> Response:
    """A tracklet's film strip: a few of its frames side by side."""
    strip = served.gallery.strip(tracklet)
    if not strip:
        raise Refused(404, "the gallery has no film strip of such a tracklet")
    served.looked(actor, "look", tracklet)
    return Jpeg(strip)


@router.get("/tracklet/frames/{number}", response_class=Jpeg)
def get_frame(
    served: Served, actor: Actor, tracklet: IdQuery, number: Annotated[int, Path(ge=0, lt=10_000)]
) -> Response:
    """One of the frames that are kept for playing a tracklet, from 0."""
    crops = served.gallery.crops(tracklet)
    if number >= len(crops):
        raise Refused(404, f"the gallery has {len(crops)} frames of such a tracklet")
    served.looked(actor, "look", tracklet)
    return Jpeg(crops[number])


@deletions.post("/deletions")
def delete(served: Served, actor: Actor, wanted: DeletionIn) -> Deleted:
    """Remove tracklets, or all tracklets of a person: embeddings, pictures, records, and what was said about them.

    The answer says what was removed. With `dry_run` nothing is removed, only counted.
    """
    chosen = Filters(
        ids=frozenset(wanted.ids) if wanted.ids else None,
        people=frozenset({wanted.person}) if wanted.person else None,
    )
    before = served.gallery.delete(chosen, dry_run=True)
    if not before.ids:
        raise Refused(404, "no tracklet of the gallery is meant; nothing was removed")
    if wanted.dry_run:
        return before
    # By the ids that stand in the log: what is added meanwhile is not deleted unseen.
    named = Filters(ids=frozenset(before.ids))
    return served.audited(
        "delete",
        {"ids": list(before.ids), "by_person": bool(wanted.person)},
        actor,
        lambda: served.gallery.delete(named),
    )
