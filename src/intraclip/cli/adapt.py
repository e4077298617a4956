"""`intraclip adapt`; its questions come in the terminal: film strips as pictures, one key and Enter an answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from intraclip.cli.common import (
    ForPrograms,
    TrainingBar,
    print_json,
    print_table,
    progress_bars,
    say,
    tell,
)
from intraclip.cli.gallery_flags import clock, login
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.adapt.adapting import Adapted
    from intraclip.adapt.asking import Asked, Reply
    from intraclip.types import Tracklet

KEYS = "y the same · n two people · ? cannot tell · u undo · l learn now · q quit"
FRAMES = 6
"""Of a film strip."""

HEIGHT = 192

AFTER_1973 = 1e8
"""Seconds above which a time is a clock's, not a video's."""


@dataclass(frozen=True, kw_only=True)
class AdaptArgs(ForPrograms):
    """Let a network learn your site's own people from tracklets that nobody labelled.

    Tracklets are grouped by who looks alike, people who were seen at once kept apart; the network learns the groups,
    and they are made again. Tracklets that are held out decide whether it became better; if not, RUN holds the old one.
    """

    model: tyro.conf.Positional[Path] = Path("base")
    """The network to begin with: base, a run folder, or a checkpoint."""
    data: tuple[Path, ...]
    """Folders of tracklets as `intraclip ingest` writes them, or galleries; all of one site, two cameras at least."""
    out: Path
    """Run folder to write."""
    resume: bool = False
    """Go on where the same adaptation was stopped."""
    ask: int | None = None
    """First ask you so many questions, "the same person?", those that help most; with pictures, in the terminal."""
    gallery: str | None = None
    """Gallery whose judgements count, and that keeps your answers; that of --data if it is one gallery."""
    answers: Path | None = None
    """CSV file of answers: query, tracklet, judgement (same, different, unsure), as judgements.csv of export-labels."""
    travel: Path | None = None
    """TOML file of travel times between cameras, and of clocks (docs/link.md)."""
    rounds: int = 2
    """Times that the tracklets are grouped and learned from."""
    epochs: int = 10
    """Epochs of each round."""
    seed: int = 0
    """Seed of everything drawn."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


def main(args: AdaptArgs) -> int:
    """Run the command."""
    from intraclip.adapt.adapting import adapt
    from intraclip.adapt.footage import gallery_in
    from intraclip.core.extras import require_extra
    from intraclip.report.adapted import write_adapted_page

    require_extra("jinja2", extra="report", purpose="the page of before and after")
    if args.ask is not None:
        if args.ask < 1:
            raise ConfigError(f"--ask {args.ask}: at least one question is asked; leave it out to ask none")
        if not sys.stdin.isatty():
            raise ConfigError(
                "--ask: standard input is no terminal, so nobody can answer; run it in one, give answers with "
                "--answers FILE.csv, or answer on the page of `intraclip serve GALLERY` and adapt with --data GALLERY"
            )
    gallery = gallery_in(args.data[0]) if len(args.data) == 1 else None
    kept = args.gallery or str(gallery or args.out / "answers.csv")
    with progress_bars(["looking", "learning"]) as update:
        terminal = Terminal(args.out / "questions", update.hide, kept)
        found = adapt(
            args.model,
            data=args.data,
            out=args.out,
            travel=args.travel,
            rounds=args.rounds,
            epochs=args.epochs,
            seed=args.seed,
            device=args.device,
            resume=args.resume,
            gallery=args.gallery,
            answers=args.answers or (),
            ask=args.ask or 0,
            responder=terminal if args.ask else None,
            by=login(),
            watcher=TrainingBar(partial(update, "learning")),
            progress=partial(update, "looking"),
        )
    terminal.remove_pictures()
    page = write_adapted_page(args.out / "report.html", found, name=str(args.model))
    if args.json:
        print_json(found.to_json_dict())
    else:
        _print(found)
    if found.won:
        say(
            f"{args.out} holds the adapted network; use it as --model {args.out}; galleries of the old one stay with it"
        )
    say(f"the page is {page}; look at it before you rely on the network")
    return 0


def _print(found: Adapted) -> None:
    from intraclip.adapt.guard import WORDS

    before, after = found.before.figures, found.after.figures
    print_table(
        ["without labels, on tracklets that were held out", "before", "adapted"],
        [[WORDS[name], f"{100 * before[name]:.1f} %", f"{100 * after[name]:.1f} %"] for name in before],
    )
    tell(found.verdict)


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
