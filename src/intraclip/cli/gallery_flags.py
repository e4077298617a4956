"""What the commands of `intraclip gallery` share: flags, times and names."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from intraclip.cli.common import command
from intraclip.cli.model_flag import Networked
from intraclip.cli.network import network_of_gallery, no_network_of, or_default
from intraclip.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from intraclip.config import ClipConfig, Recipe
    from intraclip.embed.extractors import Extractor
    from intraclip.gallery.gallery import Gallery
    from intraclip.gallery.records import Filters, TrackletRecord

Address = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")]
"""A gallery: a folder, or milvus+http://host:port/name."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, kw_only=True)
class InGallery:
    """The gallery that a command is about."""

    gallery: Address
    """Folder, or milvus+http://host:port/name."""


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


def open_model(args: Model, gallery: Gallery | None = None) -> tuple[Extractor, Recipe, ClipConfig]:
    """The model, its recipe, and how tracklets are sampled.

    Raises:
        ConfigError: none is named, and the gallery's is not here by name.
    """
    from intraclip.embed.extract import open_extractor

    found = None
    if args.run is None and args.encoder is None and gallery is not None:
        found = network_of_gallery(gallery, sampling=args.sampling, engine=args.engine, device=args.device)
        if found is None:
            raise no_network_of(gallery)
    if found is None:
        args = or_default(args)
        found = open_extractor(args.run, encoder=args.encoder, engine=args.engine, device=args.device)
    extractor, recipe = found
    clip = recipe.clip if args.sampling is None else replace(recipe.clip, test_sampling=args.sampling)
    return extractor, recipe, clip


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


def write_private(path: Path, data: bytes) -> None:
    """Write a new file of pictures of people, for its owner alone.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise OutputError(f"{path} exists; choose another --out") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
