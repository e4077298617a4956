"""Results on their way from a device to the CPU, and work that is begun before the results ahead of it are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import torch

BatchT = TypeVar("BatchT")


class Arriving:
    """Values that a GPU sends to the CPU as soon as it has them; on the CPU they are there.

    Args:
        values: on any device; on a GPU they may still be computed.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values
        self._arrived: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.current_stream(values.device).record_event()

    def read(self) -> torch.Tensor:
        """The values, on the CPU; waits for what they need, and for nothing that was started later."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values


def one_ahead(
    batches: Iterable[BatchT], start: Callable[[BatchT], Arriving]
) -> Iterator[tuple[BatchT, torch.Tensor]]:
    """Batches with what becomes of them, in order; the work of the next one is begun before a result is read.

    So a GPU has work while this process fetches batches and reads results. An error in fetching or starting the next
    batch is raised after the result of this one has been handed out.
    """
    coming = iter(batches)
    waiting: tuple[BatchT, Arriving] | None = None
    failure: Exception | None = None
    while failure is None:
        begun: tuple[BatchT, Arriving] | None = None
        try:
            batch = next(coming)
            begun = batch, start(batch)
        except StopIteration:
            break
        except Exception as error:
            failure = error
        if waiting is not None:
            yield waiting[0], waiting[1].read()
        waiting = begun
    if failure is not None:
        raise failure
    if waiting is not None:
        yield waiting[0], waiting[1].read()


def aside(device: torch.device) -> AbstractContextManager[object]:
    """On a GPU, a queue of its own: what is started inside does not wait for what was started outside before it.

    What it reads must be there already. On the CPU it does nothing.
    """
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(_queue(device))


@lru_cache(maxsize=8)  # one for each GPU: every queue has workspace of its own there
def _queue(device: torch.device) -> torch.cuda.Stream:
    cuda: Any = torch.cuda
    queue: torch.cuda.Stream = cuda.Stream(device, priority=-1)  # before what is waiting
    return queue
