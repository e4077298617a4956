"""Work that is begun, on a GPU or a thread, before the results ahead of it are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

from intraclip.core.devices import Arriving

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


def made_ahead(
    make: Callable[[int], BatchT], count: int, *, ahead: int, begin: Callable[[], object] | None = None
) -> Iterator[BatchT]:
    """What `make` gives for 0 to `count`, not included, in order; a thread makes those that come next meanwhile.

    The thread calls `begin` first. What `make` raises is raised in its turn, and nothing is made after that.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead", initializer=begin) as pool:
        items = iter(range(count))
        waiting: deque[Future[BatchT]] = deque(pool.submit(make, item) for item in islice(items, ahead))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(make, item) for item in islice(items, 1))
                yield found
        finally:
            for future in waiting:
                future.cancel()
