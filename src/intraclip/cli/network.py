"""The network of commands that embed, where no flag names one; they say which it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from intraclip.cli.common import say
from intraclip.cli.model_flag import Networked
from intraclip.errors import ConfigError

if TYPE_CHECKING:
    from intraclip.config import Recipe
    from intraclip.embed.extractors import Extractor
    from intraclip.gallery.gallery import Gallery
    from intraclip.models.zoo import Entry


FlagsT = TypeVar("FlagsT", bound=Networked)


def or_default(args: FlagsT) -> FlagsT:
    """The flags, which name the default network where they named none."""
    if args.run is not None or args.encoder is not None:
        return args
    from intraclip.embed.default import networks_here, path_of

    entry = next(networks_here())
    say(f"network: {in_words(entry)}; another one: --model")
    return replace(args, model=path_of(entry))


def in_words(entry: Entry) -> str:
    """Which default network it is, and why."""
    from intraclip.models.zoo.catalogue import STRONGER

    if not entry.shipped:
        return f"{entry.name}, which is in the cache"
    stronger = next((name for name in reversed(STRONGER) if name.endswith("0287")), "")
    return f"{entry.name}, which comes with intraclip (a stronger one: intraclip models get {stronger})"


def network_of_gallery(
    gallery: Gallery,
    *,
    sampling: Literal["dense", "even", "all"] | None,
    engine: str | None,
    device: str | None,
) -> tuple[Extractor, Recipe] | None:
    """The network that made a gallery, where it is one that is here by name; None for any other."""
    from intraclip.embed.default import network_of

    found = network_of(gallery.info.fingerprint, sampling=sampling, engine=engine, device=device)
    if found is None:
        return None
    entry, extractor, recipe = found
    say(f"network: {entry.name}, which made the gallery {gallery.info.address}")
    return extractor, recipe


def no_network_of(gallery: Gallery) -> ConfigError:
    """Says that a gallery's network must be named."""
    return ConfigError(
        f"the gallery {gallery.info.address} holds embeddings of {gallery.info.model or 'a network'} (fingerprint "
        f"{gallery.info.fingerprint[:16]}), which has no name here; name it with --model"
    )
