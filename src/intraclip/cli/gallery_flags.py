"""What the commands of `intraclip gallery` share: flags, times and names."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from intraclip.cli.common import command, say
from intraclip.cli.network import Networked, or_default
from intraclip.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.gallery.gallery import Gallery
    from intraclip.gallery.records import Filters, TrackletRecord

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, kw_only=True)
class InGallery:
    """The gallery that a command is about."""

    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")]
    """Folder, or milvus+http://host:port/name."""

    def opened(self) -> Gallery:
        """Open it."""
        from intraclip.gallery.gallery import open_gallery

        return open_gallery(self.gallery)


@dataclass(frozen=True, kw_only=True)
class Model(Networked):
    """Flags that name a model."""

    model: Path | None = None
    """Network: a run folder or checkpoint, an exported file, a name of `intraclip models list`, or a TOML file that
    describes another one (docs/export.md). Without it: the network that made the gallery; for a new one the strongest
    that is here by name."""
    sampling: Literal["dense", "even", "all"] | None = None
    """Test clips of a tracklet; by default as in the recipe. A gallery takes one sampling only."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Flags that choose tracklets."""

    camera: tuple[str, ...] = ()
    """Only tracklets of these cameras."""
    person: tuple[str, ...] = ()
    """Only tracklets with these person labels."""
    source: tuple[str, ...] = ()
    """Only tracklets of these videos or data folders."""
    from_s: float | None = None
    """Only tracklets that end at or after this second of their video."""
    to_s: float | None = None
    """Only tracklets that start at or before this second of their video."""
    since: str | None = None
    """Only tracklets seen at or after this time, such as 2026-11-22T08:00; local time unless it says otherwise."""
    until: str | None = None
    """Only tracklets seen at or before this time."""


def open_model(args: Model, gallery: Gallery | None = None) -> Network:
    """The network of the flags, else that which made a gallery, else the default one.

    Raises:
        ConfigError: none is named, and the gallery's is not here by name.
    """
    if gallery is None or args.model is not None:
        return or_default(args).open_network(sampling=args.sampling)
    from intraclip.embed.default import network_of

    info = gallery.info
    found = network_of(info.fingerprint, sampling=args.sampling, engine=args.engine, device=args.device)
    if found is None:
        raise ConfigError(
            f"the gallery {info.address} holds embeddings of {info.model or 'a network'} (fingerprint "
            f"{info.fingerprint[:16]}), and no network that is here by name made them: name it with --model, or "
            "embed the tracklets again: "
            + command("gallery", "add", "NEW", "--data", "DIR", "--labels-of", info.address)
        )
    entry, network = found
    say(f"network: {entry.name}, which made the gallery {info.address}")
    return network


def open_model_for(args: Model, address: str) -> Network:
    """As `open_model`, for an address where a gallery that holds something may be."""
    from intraclip.gallery.gallery import is_taken, open_gallery

    if args.model is None and is_taken(address):
        with open_gallery(address) as gallery:
            if gallery.stats().tracklets:
                return open_model(args, gallery)
    return open_model(args)


def note_model(args: Model, gallery: Gallery) -> None:
    """Keep in a gallery which network made it, where one is named; what is here by name is found without."""
    from intraclip.embed.default import network_note

    if args.model is not None:
        gallery.note_network(
            network_note(args.model, head=args.head, engine=args.engine, sampling=args.sampling)
        )


def filters_of(args: Chosen) -> Filters:
    """The filters that the flags say."""
    from intraclip.gallery.records import Filters

    return Filters(
        cameras=frozenset(args.camera) if args.camera else None,
        people=frozenset(args.person) if args.person else None,
        sources=frozenset(args.source) if args.source else None,
        from_s=args.from_s,
        to_s=args.to_s,
        since=None if args.since is None else moment(args.since, "--since"),
        until=None if args.until is None else moment(args.until, "--until"),
    )


def tell_unknown(args: Chosen, gallery: Gallery, *, without: tuple[str, ...] = ()) -> None:
    """Say which cameras, labels and sources the flags name that no tracklet has: a slip would hide answers.

    Args:
        args: the flags.
        gallery: that they choose from.
        without: more cameras that are named.
    """
    from intraclip.data.readers.common import shorten

    if not (args.camera or args.person or args.source or without):
        return
    stats = gallery.stats()
    for kind, named, there in (
        ("camera", (*args.camera, *without), stats.cameras),
        ("person", args.person, stats.people),
        ("source", args.source, stats.sources),
    ):
        for name in sorted(set(named) - there.keys()):
            known = shorten(sorted(there), 20) or "none"
            say(f"note: no tracklet of the gallery has the {kind} {name!r}; there are: {known}")


def moment(text: str, flag: str) -> float:
    """Unix seconds of a time; local unless it says otherwise."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{flag} {text!r}: write a time such as 2026-11-22T08:00 (local), or 2026-11-22T08:00+01:00"
        ) from None


def age(text: str, *, flag: str = "--older-than") -> float:
    """Seconds of a text such as 30d."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise ConfigError(f"{flag} {text!r}: write a number and s, m, h, d or w, such as 30d")
    return float(match[1]) * _UNITS[match[2]]


def audited(gallery: Gallery, action: str, detail: Mapping[str, Any]) -> None:
    """A line in the gallery's audit log: what is done, by whom, on the command line.

    It is written first: what cannot be logged is not done.
    """
    gallery.audit(action, detail, actor=login(), origin="command line")


def login() -> str:
    """Name of the user that runs this process, whatever the environment says; its number where it has none."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:  # Windows
        return getpass.getuser()
    except KeyError:  # in some containers
        return str(os.getuid())


def learned_in_words(gallery: Gallery) -> str:
    """That a gallery's probabilities come from elsewhere, and how to learn one's own; empty where they do not."""
    calibration = gallery.calibration()
    if calibration is None or not calibration.learned_from:
        return ""
    return (
        f"probabilities were learned from {calibration.learned_from}; calibrate with your own: "
        f"{command('gallery', 'calibrate', gallery.info.address, '--labelled', 'FILE.npz')}"
    )


def time_of(record: TrackletRecord) -> str:
    """When a tracklet was seen, by the clock or else in its video."""
    if record.started_at is not None:
        return clock(record.started_at)
    if record.start_s is None:
        return ""
    return (
        f"{record.start_s:.1f} s" if record.end_s is None else f"{record.start_s:.1f} to {record.end_s:.1f} s"
    )


def clock(seconds: float | None) -> str:
    """Local time."""
    try:
        return (
            "" if seconds is None else datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="seconds")
        )
    except (ValueError, OverflowError, OSError):  # no calendar goes that far
        return f"{seconds:g} s after 1970"


def require_new(path: Path, *, suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg")) -> None:
    """Refuse a picture's name that is taken, or of another kind."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: the picture is written as {' or '.join(suffixes)}; choose such a name")
    if path.exists():
        raise OutputError(f"{path} exists; choose another --out")
