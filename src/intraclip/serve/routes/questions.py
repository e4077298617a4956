"""Questions that people are asked, "the same person?": those whose answers help most, one at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from intraclip.adapt.answers import keep, take_back, unsure_of
from intraclip.gallery.answers import UNSURE
from intraclip.serve.context import Actor, Served
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import Id, PairIn, QuestionOut, TrackletOut
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["questions"])


@router.get("/question")
def question(served: Served, actor: Actor) -> QuestionOut:
    """The two tracklets that it helps most to know about; none where nothing is worth asking.

    Answers are judgements: `PUT /judgement`, or `PUT /unsure` by who cannot tell. The next question takes them into
    account, and so do `intraclip adapt` and `link`.
    """
    found = served.questions.next()
    if found is None:
        return QuestionOut(reason=served.questions.why_none())
    query, tracklet, pairs = found
    for name in (query, tracklet):
        served.looked(actor, "question", name)
    return QuestionOut(
        query=TrackletOut.of(served.record(query)),
        tracklet=TrackletOut.of(served.record(tracklet)),
        pairs=pairs,
    )


@router.put("/unsure", status_code=204)
def put_unsure(served: Served, actor: Actor, said: PairIn) -> None:
    """Nobody can tell about these two: they are not asked about again."""
    pair = said.query, said.tracklet
    served.require_two(*pair)
    served.audited(
        "unsure",
        said.model_dump(),
        actor,
        lambda: keep(served.gallery, *pair, UNSURE, by=actor.name),
        needs=pair,
    )


@router.delete("/unsure", status_code=204)
def delete_unsure(
    served: Served, actor: Actor, query: Annotated[Id, Query()], tracklet: Annotated[Id, Query()]
) -> None:
    """Take back that nobody can tell about two tracklets."""
    if {query, tracklet} not in [set(pair) for pair in unsure_of(served.gallery)]:
        raise Refused(404, "nobody said that these two tracklets cannot be told")
    told = {"query": query, "tracklet": tracklet}
    served.audited("retract", told, actor, lambda: take_back(served.gallery, query, tracklet))
