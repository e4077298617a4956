"""What people say: matches confirmed or rejected, labels; and where a person was, which follows from it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query

from intraclip.gallery.gallery import MAX_RESULTS, Gallery
from intraclip.gallery.records import Filters, Judgement, TrackletRecord
from intraclip.serve.context import Actor, Served
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import (
    Id,
    JudgementIn,
    LabelIn,
    Name,
    PersonOut,
    TimelineOut,
    TrackletOut,
)
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["labels"])


@router.put("/judgement")
def put_judgement(served: Served, actor: Actor, said: JudgementIn) -> Judgement:
    """Confirm or reject that two tracklets show the same person; replaces what was said before.

    `intraclip gallery export-labels` turns what was said into training data.
    """
    pair = said.query, said.tracklet
    served.require_two(*pair)
    return served.audited(
        "confirm" if said.same else "reject",
        {"query": said.query, "tracklet": said.tracklet},
        actor,
        lambda: served.gallery.judge(*pair, same=said.same, by=actor.name),
        needs=pair,
    )


@router.delete("/judgement", status_code=204)
def delete_judgement(
    served: Served, actor: Actor, query: Annotated[Id, Query()], tracklet: Annotated[Id, Query()]
) -> None:
    """Take back what was said about two tracklets."""
    nothing = Refused(404, "nothing was said about these two tracklets")
    if not served.gallery.judged(query, tracklet):
        raise nothing
    pair = {"query": query, "tracklet": tracklet}
    taken_back = served.audited(
        "retract", pair, actor, lambda: served.gallery.retract(query, tracklet), needs=(query, tracklet)
    )
    if not taken_back:  # somebody else was quicker
        raise nothing


@router.get("/judgements")
def list_judgements(served: Served, actor: Actor) -> list[Judgement]:
    """All that was said, in order of time."""
    served.looked(actor, "judgements")
    return list(served.gallery.judgements())


@router.put("/person", status_code=204)
def put_person(served: Served, actor: Actor, said: LabelIn) -> None:
    """Say who is on tracklets."""
    missing = set(said.ids) - served.gallery.find(said.ids).keys()
    if missing:
        raise Refused(404, f"the gallery lacks {len(missing)} of these tracklets; nothing was changed")
    served.audited(
        "label",
        {"ids": said.ids},
        actor,
        lambda: served.gallery.set_person(said.ids, said.person),
        needs=said.ids,
    )


@router.get("/people")
def list_people(served: Served, actor: Actor) -> list[PersonOut]:
    """Person labels and how many tracklets carry them."""
    served.looked(actor, "people")
    return [PersonOut(person=p, tracklets=n) for p, n in served.gallery.stats().people.items()]


@router.get("/timeline")
def timeline(
    served: Served,
    actor: Actor,
    person: Annotated[Name, Query(description="Either a label,")] = "",
    tracklet: Annotated[Id | None, Query(description="or a tracklet's id.")] = None,
) -> TimelineOut:
    """Where and when a person was seen: all tracklets of a label, or all that belong to a tracklet.

    Those belong to it that people confirmed as the same person, or gave the same label, also by way of others.
    """
    if bool(person) == bool(tracklet):
        raise Refused(422, "name either a person or a tracklet")
    conflicts: list[Judgement] = []
    if tracklet:
        record = served.record(tracklet)
        found, conflicts = same_person(served.gallery, record)
    else:
        found = _labelled(served.gallery, person)
        if not found:
            raise Refused(404, "no tracklet carries this label")
    shown = sorted(found, key=lambda r: (r.started_at or 0.0, r.start_s or 0.0, r.id))[:MAX_RESULTS]
    labels = {r.person for r in found if r.person}
    told = {"tracklet": tracklet} if tracklet else {"by_person": True}
    served.gallery.audit("timeline", {**told, "shown": len(shown)}, actor=actor.name, origin=actor.address)
    return TimelineOut(
        person=person or (labels.pop() if len(labels) == 1 else ""),
        tracklets=[TrackletOut.of(r) for r in shown],
        cameras=dict(sorted(Counter(r.camera for r in shown).items())),
        conflicts=conflicts,
        truncated=len(found) > len(shown),
    )


def same_person(gallery: Gallery, start: TrackletRecord) -> tuple[list[TrackletRecord], list[Judgement]]:
    """Tracklets that are the same person by what people said, also by way of others; and rejections among them."""
    judgements = gallery.judgements()
    confirmed: dict[str, set[str]] = {}
    for j in judgements:
        if j.same:
            confirmed.setdefault(j.query, set()).add(j.tracklet)
            confirmed.setdefault(j.tracklet, set()).add(j.query)
    found, labels, waiting = {start.id: start}, {""}, [start]
    while waiting and len(found) <= MAX_RESULTS:
        record = waiting.pop()
        near = list(gallery.find(sorted(confirmed.get(record.id, set()) - found.keys())).values())
        if record.person not in labels:
            labels.add(record.person)
            near += [r for r in _labelled(gallery, record.person) if r.id not in found]
        found |= {r.id: r for r in near}
        waiting += near
    return list(found.values()), [
        j for j in judgements if not j.same and j.query in found and j.tracklet in found
    ]


def _labelled(gallery: Gallery, person: str) -> list[TrackletRecord]:
    return list(islice(gallery.all_records(Filters(people=frozenset({person}))), MAX_RESULTS + 1))
