"""`intraclip adapt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from intraclip.cli.adapt_ask import Pausing, Terminal, require_terminal
from intraclip.cli.common import ForPrograms, TrainingBar, parse, print_json, print_table, say, tell
from intraclip.cli.gallery_flags import login
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    from intraclip.adapt.adapting import Adapted


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


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    args = parse(AdaptArgs, argv, command="adapt")
    from intraclip.adapt.adapting import adapt
    from intraclip.adapt.footage import gallery_in
    from intraclip.core.extras import require_extra
    from intraclip.report.adapted import write_adapted_page

    require_extra("jinja2", extra="report", purpose="the page of before and after")
    if args.ask is not None:
        if args.ask < 1:
            raise ConfigError(f"--ask {args.ask}: at least one question is asked; leave it out to ask none")
        require_terminal()
    gallery = gallery_in(args.data[0]) if len(args.data) == 1 else None
    kept = args.gallery or str(gallery or args.out / "answers.csv")
    with Pausing("looking", "learning") as bars:
        terminal = Terminal(args.out / "questions", bars.pause, kept)
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
            watcher=TrainingBar(partial(bars.update, "learning")),
            progress=lambda done, total: bars.update("looking", done, total),
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
