"""Questions of `intraclip adapt --ask` in a terminal: film strips as pictures, one key and Enter an answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.cli.common import progress_bars, say
from intraclip.cli.gallery_flags import clock
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.adapt.asking import Asked, Reply
    from intraclip.types import Tracklet

KEYS = "y the same · n two people · ? cannot tell · u undo · l learn now · q quit"
FRAMES = 6
"""Of a film strip."""

HEIGHT = 192

AFTER_1973 = 1e8
"""Seconds above which a time is a clock's, not a video's."""


def require_terminal() -> None:
    """Refuse to ask where nobody can answer.

    Raises:
        ConfigError: standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "--ask: standard input is no terminal, so nobody can answer; run it in one, give answers with --answers "
            "FILE.csv, or answer on the page of `intraclip serve GALLERY` and adapt with --data GALLERY"
        )


class Pausing:
    """Progress bars that make way for questions."""

    def __init__(self, *names: str) -> None:
        self._names, self._stack = names, ExitStack()
        self._update: Callable[..., None] | None = None

    def update(self, name: str, done: int, total: int, extra: str = "") -> None:
        """See `progress_bars`."""
        if self._update is None:
            self._update = self._stack.enter_context(progress_bars(self._names))
        self._update(name, done, total, extra)

    def pause(self) -> None:
        """Take the bars away until the next update."""
        self._stack.close()
        self._update = None

    def __enter__(self) -> Pausing:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()


class Terminal:
    """Asks in a terminal.

    Args:
        folder: for the pictures, one a question; they are removed in the end.
        pause: called before anything is asked.
        kept: where answers are kept, for the message of who quits.
    """

    def __init__(self, folder: Path, pause: Callable[[], None], kept: str) -> None:
        self.folder, self.kept = folder, kept
        self._pause, self._explained = pause, False

    def __call__(self, asked: Asked) -> Reply:
        """Show a question, and read the answer.

        Raises:
            RunStopped: the person quits: q, the end of the input, or Ctrl-C.
        """
        from intraclip.report.strips import write_picture

        self._pause()
        picture = self.folder / f"{asked.number:03d}.jpg"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_picture(picture, question_picture(asked))
        if not self._explained:
            self._explained = True
            say(f"Look at the picture of each question, and answer with a key and Enter: {KEYS}")
            say("The same pictures in a browser: `intraclip serve GALLERY`, Questions")
        say(f"question {asked.number} of {asked.of}: the same person? {picture.resolve()}")
        for tracklet, place in zip((asked.query, asked.tracklet), ("above", "below"), strict=True):
            say(f"  {place}: {caption(tracklet, asked.times[0 if place == 'above' else 1])}")
        try:
            return self._read(asked)
        except KeyboardInterrupt:
            raise self._stopped(asked) from None

    def remove_pictures(self) -> None:
        """They show people, and have been seen."""
        with suppress(OSError):
            for picture in self.folder.glob("*.jpg"):
                picture.unlink()
            self.folder.rmdir()

    def _read(self, asked: Asked) -> Reply:
        words: dict[str, Reply] = {
            **dict.fromkeys(("y", "yes", "same"), "same"),
            **dict.fromkeys(("n", "no", "different"), "different"),
            **dict.fromkeys(("?", "d", "unsure"), "unsure"),
            **dict.fromkeys(("u", "undo"), "undo"),
            **dict.fromkeys(("l", "learn"), "enough"),
        }
        while True:
            sys.stderr.write("> ")
            sys.stderr.flush()
            line = sys.stdin.readline()
            word = line.strip().lower()
            if not line or word in ("q", "quit"):
                raise self._stopped(asked)
            if word in words:
                return words[word]
            say(KEYS)

    def _stopped(self, asked: Asked) -> Exception:
        from intraclip.train.stopping import RunStopped

        return RunStopped(
            f"stopped after {asked.number - 1} of {asked.of} questions, as asked; the answers are kept in {self.kept}: "
            "give the same command again with --resume",
            130,
        )


def caption(tracklet: Tracklet, times: npt.NDArray[np.float64]) -> str:
    """Which tracklet, where and when."""
    start, end = times.tolist()
    when = ""
    if all(map(math.isfinite, times)):
        when = f", {clock(start)}" if start > AFTER_1973 else f", {start:.1f} to {end:.1f} s"
    return f"{tracklet.name}, camera {tracklet.camid}{when}"


def question_picture(asked: Asked) -> npt.NDArray[Any]:
    """Film strips of both tracklets, one above the other: uint8 ``[H, W, 3]``."""
    import numpy as np

    from intraclip.core.film_strip import film_strip
    from intraclip.report.strips import evenly_spaced, load_frames

    strips = [
        film_strip(load_frames(t, evenly_spaced(len(t), FRAMES), height=HEIGHT, width=HEIGHT // 2))
        for t in (asked.query, asked.tracklet)
    ]
    width = max(s.shape[1] for s in strips)
    wide = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in strips]
    gap = np.full((8, width, 3), 255, dtype=np.uint8)
    return np.concatenate([wide[0], gap, wide[1]])
