"""Deleting for good."""

from __future__ import annotations

from fastapi import APIRouter

from intraclip.gallery.records import Deleted, Filters
from intraclip.serve.context import Actor, Served
from intraclip.serve.errors import Refused
from intraclip.serve.schemas import DeletionIn
from intraclip.serve.settings import API

router = APIRouter(prefix=API, tags=["deletions"])


@router.post("/deletions")
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
