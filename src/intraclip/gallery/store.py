"""What a gallery asks of the place that keeps its tracklets: a folder, or a server.

A store keeps what it is given and checks nothing of it; `Gallery` does that once for all of them. What is added
becomes visible as a whole tracklet or not at all, and has been written when the call returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from intraclip.gallery.records import (
    AuditEntry,
    Counts,
    Filters,
    GalleryInfo,
    Judgement,
    Pictures,
    TrackletRecord,
)

Vectors = npt.NDArray[np.float32]


class Nearest(NamedTuple):
    """Candidates of a search, in no order that matters: `Gallery` computes their distances again.

    Attributes:
        ids: of K tracklets.
        vectors: theirs, float32 ``[K, D]``, as stored.
        exact: whether every tracklet that the filters leave was compared.
    """

    ids: list[str]
    vectors: Vectors
    exact: bool


class Brief(NamedTuple):
    """What a deletion reports of a tracklet."""

    id: str
    camera: str
    person: str


class Removed(NamedTuple):
    """What went with tracklets that were removed; see `Deleted`."""

    pictures: int
    judgements: int
    complete: bool
    note: str


class Store(Protocol):
    """Keeps tracklets. Every method may be called from several threads at once."""

    info: GalleryInfo

    def insert(
        self, records: Sequence[TrackletRecord], vectors: Vectors, pictures: Sequence[Pictures]
    ) -> None:
        """Add N tracklets, none of which is there; vectors are float32 ``[N, D]``.

        Raises:
            DataError: an id is there already; nothing was added then.
            OutputError: it cannot be written (full disk, another writer that does not end); nothing is half-there.
        """

    def records(self, ids: Sequence[str]) -> dict[str, TrackletRecord]:
        """Those of the tracklets that are there."""

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """Vectors ``[D]`` of those of the tracklets that are there."""

    def pictures(self, tracklet: str) -> Pictures:
        """Pictures of a tracklet; empty ones if it is not there or has none."""

    def nearest(self, query: Vectors, *, k: int, filters: Filters) -> Nearest:
        """At least the `k` nearest tracklets to ``[D]``, or all that the filters leave."""

    def page(self, filters: Filters, *, limit: int, after: str) -> list[TrackletRecord]:
        """The first `limit` records whose id is greater than `after`, in order of their ids."""

    def select(self, filters: Filters) -> list[Brief]:
        """All tracklets that pass, in order of their ids."""

    def remove(self, ids: Sequence[str], *, dry_run: bool) -> Removed:
        """Remove tracklets with all that belongs to them."""

    def set_person(self, ids: Sequence[str], person: str) -> None:
        """Label tracklets."""

    def put_judgement(self, judgement: Judgement) -> None:
        """Keep a judgement; it replaces an earlier one about the same two tracklets, in whichever order."""

    def drop_judgement(self, query: str, tracklet: str) -> bool:
        """Forget what was said about two tracklets, in whichever order; False if nothing was."""

    def judgements(self) -> list[Judgement]:
        """All of them, in order of time."""

    def append_audit(self, entry: AuditEntry, *, essential: bool) -> None:
        """Append a line to the audit log, whose number the store chooses; an essential one even on a full disk."""

    def audit(self, *, limit: int, before: int | None) -> list[AuditEntry]:
        """The newest lines whose number is below `before`, newest first."""

    def document(self, name: str) -> str | None:
        """A text that belongs to the gallery, such as its calibration."""

    def put_document(self, name: str, text: str | None) -> None:
        """Keep a text, or with None forget it. A paper (`intraclip.gallery.papers`) goes with its tracklets too."""

    def add_document(self, name: str, text: str) -> bool:
        """As `put_document`, unless there is one of this name, whoever keeps it; whether it was kept."""

    def documents(
        self, prefix: str, *, after: str = "", newest: bool = False, limit: int = 0
    ) -> dict[str, str]:
        """Texts by name of all documents whose name begins with `prefix` and is greater than `after`.

        In order of their names, or the reverse; at most `limit`, 0 for all.
        """

    def linked_alone(self) -> AbstractContextManager[None]:
        """Keep others from linking it meanwhile, as far as the store can; they may do everything else."""

    def counts(self) -> Counts:
        """Count."""

    def build_index(self) -> str:
        """Make or bring up to date what lets large galleries be searched fast; returns in words what there is."""

    def ready(self) -> None:
        """See `Gallery.ready`."""

    def check(self) -> list[str]:
        """Read everything; what is damaged, in words."""

    def discard(self) -> bool:
        """Remove the gallery, and close it, if nothing was ever added; False if something was."""

    def close(self) -> None:
        """Release files and connections."""
