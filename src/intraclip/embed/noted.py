"""Notes of how a network was opened, for whoever keeps its embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intraclip.embed.extract import open_extractor
from intraclip.embed.extractors import ExtractSettings

if TYPE_CHECKING:
    pass
from intraclip.embed.network import Network, run_or_encoder


def load_noted(note: Mapping[str, Any]) -> Network:
    """Open what `network_note` noted; errors as `load`."""
    run, encoder = (Path(note[key]) if note.get(key) else None for key in ("run", "encoder"))
    if encoder is None and run is not None:
        run, encoder = run_or_encoder(run)
    extractor, recipe = open_extractor(run, encoder=encoder, engine=note.get("engine"))
    clip = recipe.clip
    if note.get("sampling"):
        clip = replace(clip, test_sampling=note["sampling"])
    return Network(extractor, ExtractSettings.of(recipe, clip=clip))


def network_note(
    run: Path | None, encoder: Path | None, *, engine: str | None = None, sampling: str | None = None
) -> dict[str, str | None]:
    """What opens a network again from anywhere on this machine: for whoever keeps its embeddings."""

    def whole(path: Path | None) -> str | None:
        return None if path is None else str(path.resolve() if path.exists() else path)

    return {"run": whole(run), "encoder": whole(encoder), "engine": engine, "sampling": sampling}
