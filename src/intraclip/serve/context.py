"""What routes share: the gallery, the settings, the slots, and the words for what is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.serve.errors import Refused
from intraclip.serve.sessions import Sessions
from intraclip.serve.settings import ServeSettings
from intraclip.serve.slots import Slots
from intraclip.serve.telemetry import Metrics
from intraclip.serve.uploads import Embedder

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Context:
    """The parts of one running service.

    Attributes:
        gallery: what is served.
        settings: the limits.
        embedder: for uploads; None where no model was given.
        sessions: of the page.
        metrics: counters.
        searching: slots of searches.
        embedding: slots of uploads.
        stopping: set when the service is about to end; it is not ready any more.
    """

    gallery: Gallery
    settings: ServeSettings
    embedder: Embedder | None
    sessions: Sessions
    metrics: Metrics
    searching: Slots = field(init=False)
    embedding: Slots = field(init=False)
    stopping: bool = False

    def __post_init__(self) -> None:
        self.searching = Slots(self.settings.searches, self.settings.waiting)
        self.embedding = Slots(self.settings.embeddings, self.settings.waiting)
        self.metrics.watch("search", self.searching)
        self.metrics.watch("upload", self.embedding)

    def record(self, tracklet: str) -> TrackletRecord:
        """One tracklet.

        Raises:
            Refused: it is not there (404).
        """
        found = self.gallery.find([tracklet]).get(tracklet)
        if found is None:
            raise Refused(404, "the gallery has no such tracklet; it may have been deleted")
        return found

    def audited(
        self, action: str, detail: Mapping[str, Any], actor: str, work: Callable[[], Result]
    ) -> Result:
        """Do something that the audit log must know, which is written first: what cannot be logged is not done."""
        self.gallery.audit(action, detail, actor=actor)
        try:
            return work()
        except Exception:
            self.gallery.audit(f"{action}-failed", detail, actor=actor)
            raise


def _context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


def _actor(request: Request) -> str:
    return str(request.state.actor)


Served = Annotated[Context, Depends(_context)]
"""A route's parameter: the service."""

Actor = Annotated[str, Depends(_actor)]
"""A route's parameter: who asks."""
