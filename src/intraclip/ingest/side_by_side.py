"""Several videos at work at once, which share one detector and one encoder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    from intraclip.ingest.appearance import Encoder

T = TypeVar("T")


class Stopped(Exception):
    """Another video has failed, or the user has interrupted."""


def side_by_side(one: Callable[[int], T], count: int, *, workers: int, stop: Callable[[], None]) -> list[T]:
    """Do `one` piece of work, by number, for each of several videos, at most `workers` at a time; the answers in order.

    Decoding, networks and compression let go of Python's lock, so threads keep all cores busy: while one video waits
    for its decoder, another is searched and the pictures of a third are cut out. When one has failed, `stop` is called,
    which makes the others raise `Stopped` soon.

    Raises:
        BaseException: what the first that failed has raised.
    """
    if min(workers, count) < 2:
        return [one(number) for number in range(count)]
    with ThreadPoolExecutor(min(workers, count), thread_name_prefix="video") as pool:
        futures = [pool.submit(one, number) for number in range(count)]
        try:
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            if failed := [f for f in futures if f in ended and f.exception() is not None]:
                raise next(
                    error
                    for f in failed
                    if (error := f.exception()) is not None and not isinstance(error, Stopped)
                )
            return [f.result() for f in futures]
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            raise


class OneAtATime:
    """An encoder that several videos may ask; engines need not be able to answer several at once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()
        self.fingerprint, self.height, self.width = encoder.fingerprint, encoder.height, encoder.width

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """See `Encoder`."""
        with self._lock:
            return self._encoder.encode(frames)
