"""How an experiment shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from intraclip.train.loop import Silent, Watcher


@dataclass(frozen=True, kw_only=True)
class View:
    """How an experiment shows its progress; by default it does not.

    Attributes:
        say: takes a line of text.
        training: makes a watcher for a training run of that name.
        progress: makes a function of (done, total), perhaps with what is going on, for a task of that name.
    """

    say: Callable[[str], None] = lambda text: None
    training: Callable[[str], AbstractContextManager[Watcher]] = lambda name: nullcontext(Silent())
    progress: Callable[[str], AbstractContextManager[Callable[..., None]]] = lambda name: nullcontext(
        lambda *_: None
    )
