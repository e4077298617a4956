"""Work on a GPU that is begun before the results ahead of it are read, and work that does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import torch

from intraclip.core.transfer import Arriving

BatchT = TypeVar("BatchT")


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
