"""Work that is divided among processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from intraclip.errors import ConfigError, IntraclipError

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def process_count(workers: int | None, most: int) -> int:
    """How many processes do `most` pieces of work: `workers`, or one for each core that this process may use.

    Raises:
        ConfigError: `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}; at least 1 process is needed")
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers or own, most)


@contextmanager
def processes(
    count: int, *, doing: str, begin: Callable[..., object] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each, which is fastest, and gives the same sums on every machine size.

    After an error what was begun is finished, and what was not is left undone. Ctrl-C is for this process alone, and
    they end with it, even if it is killed.

    What each of them is `doing` the message says, such as "renders"; `begin` is called in each first.

    Raises:
        IntraclipError: one of them was killed.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # they inherit it
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(begin, given)
    )
    try:
        yield pool
    except BrokenProcessPool:
        raise IntraclipError(
            f"a process that {doing} was killed, perhaps for want of memory; run the same command again with fewer "
            "workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(begin: Callable[..., object] | None, given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if begin is not None:
        begin(*given)


def _leave_with_parent() -> None:
    """End this process when its parent was killed: nobody would tell it, and another run may want its files."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
