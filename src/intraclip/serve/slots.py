"""Heavy work runs in threads, a bounded number at once, with a bounded queue before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import Request

from intraclip.serve.errors import Refused

Result = TypeVar("Result")


class Slots:
    """Runs functions in threads.

    Args:
        running: at once; the others wait in order.
        waiting: that may wait; more are refused, so that a rush ends in a clear answer and not in a full memory.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._limiter = CapacityLimiter(running)
        self._running = running
        self._most = running + waiting
        self._inside = 0  # changed in the event loop only

    @property
    def running(self) -> int:
        """How many run now."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return max(0, self._inside - self._running)

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, computed in a thread.

        Raises:
            Refused: too many wait already (503).
        """
        if self._inside >= self._most:
            raise Refused(
                503, "too many requests wait already; try again in a moment", headers={"Retry-After": "1"}
            )
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._inside -= 1

    async def run_for(self, request: Request, work: Callable[[], Result], stop: Callable[[], None]) -> Result:
        """As `run`, as long as somebody waits for the answer.

        Args:
            request: whose body has been read.
            work: see `run`.
            stop: makes `work` end early, from another thread; called when the sender has left.

        Raises:
            Refused: too many wait already (503), or the sender has left (499, which nobody reads but the log).
        """
        outcome: list[Result] = []
        refused: list[Exception] = []

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            refused.append(Refused(499, "the sender has left"))
            stop()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            try:
                outcome.append(await self.run(work))
            except Exception as error:
                refused.append(error)
            tasks.cancel_scope.cancel()
        if refused:
            raise refused[0]
        return outcome[0]
