"""Notes of how a network was opened, for whoever keeps its embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intraclip.embed.network import Network, opened, run_or_encoder


def load_noted(note: Mapping[str, Any]) -> Network:
    """Open what `network_note` noted; errors as `load`."""
    run, encoder = (Path(note[key]) if note.get(key) else None for key in ("run", "encoder"))
    if encoder is None and run is not None:
        run, encoder = run_or_encoder(run)
    return opened(run, encoder, engine=note.get("engine"), sampling=note.get("sampling"))


def network_note(
    run: Path | None, encoder: Path | None, *, engine: str | None = None, sampling: str | None = None
) -> dict[str, str | None]:
    """What opens a network again from anywhere on this machine: for whoever keeps its embeddings."""

    def whole(path: Path | None) -> str | None:
        return None if path is None else str(path.resolve() if path.exists() else path)

    return {"run": whole(run), "encoder": whole(encoder), "engine": engine, "sampling": sampling}
