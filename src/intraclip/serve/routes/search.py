"""Searches, by a tracklet of the gallery or by uploaded pictures. Each one leaves a line in the audit log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, UploadFile

from intraclip.gallery.records import SearchResult
from intraclip.serve.context import Actor, Context, Served
from intraclip.serve.decoding import TAKES
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import ErrorOut, MatchOut, SearchOptions, SearchOut, TrackletOut, TrackletSearch
from intraclip.serve.security import Asker
from intraclip.serve.settings import API
from intraclip.serve.uploads import Decoding

router = APIRouter(prefix=API, tags=["search"])


@router.post("/search", responses={409: {"model": ErrorOut, "description": "There is no calibration."}})
async def search(served: Served, actor: Actor, wanted: TrackletSearch) -> SearchOut:
    """Find the tracklets that look most like one of the gallery."""

    def work() -> SearchOut:
        query = served.record(wanted.tracklet)
        if wanted.false_match_rate is not None:
            served.require_rate(wanted.false_match_rate)
        find = partial(served.gallery.search_tracklet, wanted.tracklet, own_camera=wanted.own_camera)
        told = {"tracklet": wanted.tracklet}
        found = _found(served, actor, "search", told, wanted, find, needs=[wanted.tracklet])
        judged = {
            j.tracklet if j.query == query.id else j.query: j.same
            for j in served.gallery.judgements()
            if query.id in (j.query, j.tracklet)
        }
        return _answer(found, query=TrackletOut.of(query), judged=judged)

    return await served.searching.run(work)


@router.post(
    "/search/upload",
    responses={
        400: {"model": ErrorOut, "description": "Damaged, too many files, or pictures beside a clip."},
        409: {"model": ErrorOut, "description": "There is no model, or no calibration."},
        415: {"model": ErrorOut, "description": "Something else than pictures or a clip."},
    },
)
async def search_upload(
    request: Request,
    served: Served,
    actor: Actor,
    files: Annotated[
        list[UploadFile], File(min_length=1, description=f"Pictures of one person, or a clip. {TAKES}.")
    ],
    options: Annotated[SearchOptions, Query()],
) -> SearchOut:
    """Find the tracklets that look most like the person on uploaded pictures, or in a clip that shows nobody else.

    The files are not kept.
    """
    embedder = served.embedder
    if embedder is None:
        raise Refused(
            409,
            "this service was started without a model, so pictures cannot be searched for; start it with --model, "
            "the network that the gallery was made with",
        )
    if len(files) > served.settings.max_files:
        raise Refused(
            400, f"{len(files)} files were sent; at most {served.settings.max_files} make one search"
        )
    if (rate := options.false_match_rate) is not None:
        await served.searching.run(lambda: served.require_rate(rate))
    decoding = Decoding(served.decoders, lambda: [file.file.read() for file in files])
    pictures = await served.decoding.run_for(request, decoding.run, decoding.stop)
    vector = await served.embedding.run_for(request, lambda: embedder.embed([pictures])[0], lambda: None)

    def work() -> SearchOut:
        find = partial(served.gallery.search, vector, fingerprint=embedder.fingerprint)
        told = {"files": len(files), "pictures": len(pictures)}
        return _answer(_found(served, actor, "search-upload", told, options, find), pictures=len(pictures))

    return await served.searching.run(work)


def _found(
    served: Context,
    actor: Asker,
    action: str,
    told: Mapping[str, Any],
    options: SearchOptions,
    find: Callable[..., SearchResult],
    *,
    needs: Sequence[str] = (),
) -> SearchResult:
    """What a search finds, timed and written to the audit log; `find` takes what every search takes."""
    kind = "tracklet" if action == "search" else "upload"
    filters = options.filters()

    def work() -> SearchResult:
        started = time.perf_counter()
        found = find(k=options.k, filters=filters, false_match_rate=options.false_match_rate)
        served.metrics.searches.labels(kind).inc()
        served.metrics.search_seconds.labels(kind).observe(time.perf_counter() - started)
        return found

    detail = {**told, "k": options.k, **filters.for_audit()}
    return served.audited(action, detail, actor, work, needs=needs)


def _answer(
    found: SearchResult,
    *,
    query: TrackletOut | None = None,
    judged: dict[str, bool] | None = None,
    pictures: int = 0,
) -> SearchOut:
    matches = [MatchOut.of(m, (judged or {}).get(m.record.id)) for m in found.matches]
    return SearchOut(**{**vars(found), "matches": matches}, query=query, pictures=pictures)
