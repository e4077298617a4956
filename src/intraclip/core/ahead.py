"""Work on a GPU that is begun before the results ahead of it are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

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
