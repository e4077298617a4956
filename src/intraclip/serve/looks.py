"""Who looked at which pictures, for the audit log: a few lines for a page of film strips, not one for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

AGAIN_S = 600.0
"""Whoever looks at the same tracklet again within so many seconds leaves no second line."""

TOGETHER_S = 0.02
"""Looks that come within so many seconds share a line; browsers ask for six pictures at once."""

MOST = 100_000
"""Looks that are remembered; the oldest is forgotten first, and would leave another line."""

Who = tuple[str, str, str]
"""What was looked at, by whom, from where: ``("look", "alice", "10.0.0.7")``."""


class Looks:
    """Sees to it that every look is in the log before anything is shown, and that it is there once."""

    def __init__(
        self, write: Callable[[Who, list[str]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[Who, str], float] = {}
        self._gathering: dict[Who, _Line] = {}

    def note(self, who: Who, item: str) -> None:
        """Return when it is in the log; raises what writing raises."""
        with self._lock:
            at = self._known.get((who, item))
            if at is not None and self._clock() < at + AGAIN_S:
                return
            line = self._gathering.get(who)
            first = line is None
            if line is None:
                line = self._gathering[who] = _Line()
            line.items[item] = None
        if first:
            self._send(who, line)
        line.written.wait()
        if line.error is not None:
            raise line.error

    def _send(self, who: Who, line: _Line) -> None:
        line.written.wait(TOGETHER_S)  # nobody sets it yet: others may join
        with self._lock:
            del self._gathering[who]
        try:
            self._write(who, list(line.items))
            with self._lock:
                now = self._clock()
                for item in line.items:
                    self._known.pop((who, item), None)
                    self._known[who, item] = now
                while len(self._known) > MOST:
                    del self._known[next(iter(self._known))]
        except BaseException as error:
            line.error = error
        finally:
            line.written.set()


class _Line:
    def __init__(self) -> None:
        self.items: dict[str, None] = {}
        self.written = threading.Event()
        self.error: BaseException | None = None
