"""Retention: what is older than it may be goes by itself, and the audit log says what went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from intraclip.errors import IntraclipError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import Filters

EVERY_S = 3600.0
"""Between two sweeps, at most; a tenth of what is kept, where that is less."""

LINE = 500
"""Ids in one line of the audit log."""


def sweep(gallery: Gallery, keep_s: float, *, spared: frozenset[str] = frozenset(), actor: str = "") -> int:
    """Delete tracklets that were seen (`TrackletRecord.seen_at`) longer ago than `keep_s` seconds; the number of them.

    Those whose ids are `spared` are kept all the same, such as those of a watch-list.

    Raises:
        OutputError: it cannot be written; what was deleted before stays deleted.
    """
    old = Filters(seen_before=time.time() - keep_s, exclude_ids=spared)
    ids = gallery.delete(old, dry_run=True).ids
    for start in range(0, len(ids), LINE):
        part = ids[start : start + LINE]
        # By the ids that stand in the log, which is written first: what cannot be logged is not done.
        gallery.audit("delete", {"ids": list(part), "older_than_s": keep_s}, actor=actor, origin="retention")
        gallery.delete(Filters(ids=frozenset(part)))
    return len(ids)


@dataclass(eq=False)
class Retention:
    """Sweeps a gallery now and then, in a thread; see `sweep`. Who is spared is asked each time.

    Attributes:
        deleted: tracklets that went so far.
        problem: why the last sweep failed; empty if it did not.
    """

    gallery: Gallery
    keep_s: float
    spared: Callable[[], frozenset[str]] = frozenset
    actor: str = ""
    deleted: int = 0
    problem: str = ""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Sweep now, and from then on by itself."""
        self._thread.start()

    def stop(self) -> None:
        """End; a sweep that runs is finished first."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.deleted += sweep(self.gallery, self.keep_s, spared=self.spared(), actor=self.actor)
                self.problem = ""
            except IntraclipError as error:  # a full disk may have room again the next time
                self.problem = str(error)
            self._stop.wait(min(EVERY_S, self.keep_s / 10))
