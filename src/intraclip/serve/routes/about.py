"""What the gallery holds, what was done with it, and how the service is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST

from intraclip.gallery.gallery import MAX_RESULTS
from intraclip.serve.context import Actor, Served
from intraclip.serve.schemas import AuditPage, StatsOut
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["about"])
health = APIRouter()

RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)


@router.get("/stats")
def stats(served: Served, actor: Actor) -> StatsOut:
    """Counts, the model, and what this service can do."""
    served.looked(actor, "people")
    found = served.gallery.stats()
    calibration = served.gallery.calibration()
    counts = {k: v for k, v in vars(found).items() if k != "info"}
    return StatsOut(
        **counts,
        model=found.info.model,
        fingerprint=found.info.fingerprint,
        dimension=found.info.dimension,
        metric=found.info.metric,
        false_match_rates=(
            [] if calibration is None else [r for r in RATES if r >= calibration.false_match_rates[-1]]
        ),
        uploads=served.embedder is not None,
        max_upload_bytes=served.settings.max_upload_bytes,
        max_files=served.settings.max_files,
        actor=actor.name,
        read_only=actor.read_only,
    )


@router.get("/audit")
def audit(
    served: Served,
    limit: Annotated[int, Query(ge=1, le=MAX_RESULTS)] = 100,
    before: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
) -> AuditPage:
    """Searches, judgements and deletions, newest first: who, when, which ids."""
    found = served.gallery.audit_log(limit=limit, before=before)
    return AuditPage(
        entries=list(found),
        cursor=found[-1].number if len(found) == limit else None,
    )


@health.get("/health/live", include_in_schema=False)
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@health.get("/health/ready", include_in_schema=False)
def ready(served: Served) -> dict[str, str]:
    """The gallery is whole and can be written, as far as is known, and the service is not about to stop."""
    served.require_ready()
    return {"status": "ready"}


@health.get("/metrics", include_in_schema=False)
async def metrics(served: Served) -> Response:
    """For Prometheus."""
    return Response(served.metrics.text(), media_type=CONTENT_TYPE_LATEST)
