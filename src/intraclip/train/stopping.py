"""Being asked to stop: SIGTERM from a cluster that wants its machine back, Ctrl-C from a person."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from intraclip.errors import IntraclipError

ONE_REQUEST = 3.0
"""Seconds within which signals are one request."""


class RunStopped(IntraclipError):
    """The run was asked to stop, saved itself and stopped.

    Attributes:
        exit_code: 128 and the number of the signal, as shells report it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class StopRequest:
    """Catches SIGTERM and SIGINT, so that a run can finish its step and save; a second request acts at once.

    The same request may come twice, from the cluster and from torchrun: signals close together count as one. Outside
    the main thread, where Python takes no signals, it catches nothing.

    Attributes:
        number: of the signal that came, 0 as long as none has.
    """

    def __init__(self) -> None:
        self.number = 0
        self._asked = 0.0
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 and the signal's number; that of SIGTERM when another process of the run was asked."""
        return 128 + (self.number or signal.SIGTERM)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _caught(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if not self.number:
            self.number, self._asked = number, now
        elif now - self._asked > ONE_REQUEST:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
