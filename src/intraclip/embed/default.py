"""Which network embeds where none is named: a stronger one of the zoo that was fetched, else the shipped one.

And notes of how a network was opened, for whoever keeps its embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intraclip.config_io import parse_json
from intraclip.export.engines import RUNS, installed
from intraclip.models.zoo import Entry, is_here, local_file, named, shipped_calibrations
from intraclip.models.zoo.catalogue import STRONGER

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.metrics.match_probability import MatchCalibration

SHIPPED = "base"


def networks_here() -> Iterator[Entry]:
    """Networks that may embed where none is named and that run here, the first choice first."""
    for name in STRONGER:
        entry = named(name)
        if is_here(entry) and any(map(installed, RUNS[Path(entry.files[0].name).suffix])):
            yield entry
    yield named(SHIPPED)


def path_of(entry: Entry) -> Path:
    """What `opened` takes for an entry: what is shipped by its file, which no folder of that name hides."""
    return local_file(entry) if entry.shipped else Path(entry.name)


def calibration_of(fingerprint: str) -> MatchCalibration | None:
    """What is known of the distances of a network that comes with the package; None for any other."""
    from intraclip.metrics.match_probability import MatchCalibration

    known = map(parse_json, shipped_calibrations())
    found = next((data for data in known if data["fingerprint"] == fingerprint), None)
    return None if found is None else MatchCalibration.from_json_dict(found)


def network_of(
    fingerprint: str,
    *,
    sampling: Literal["dense", "even", "all"] | None = None,
    engine: str | None = None,
    device: str | None = None,
) -> tuple[Entry, Network] | None:
    """The one of `networks_here` that made embeddings, opened; None where none did."""
    from intraclip.embed.network import opened  # loads torch

    for entry in networks_here():
        # Opening a network takes seconds; what the shipped one makes of its own sampling is written down.
        if (
            entry.shipped
            and sampling is None
            and not any(fingerprint in text for text in shipped_calibrations())
        ):
            continue
        network = opened(path_of(entry), engine=engine, device=device, sampling=sampling)
        if network.fingerprint == fingerprint:
            return entry, network
    return None


def load_noted(note: Mapping[str, Any]) -> Network:
    """Open what `network_note` noted; errors as `load`."""
    from intraclip.embed.network import opened

    model, *head = (Path(note[key]) for key in ("encoder", "run") if note.get(key))
    return opened(
        model, head=head[0] if head else None, engine=note.get("engine"), sampling=note.get("sampling")
    )


def network_note(
    model: Path, *, head: Path | None = None, engine: str | None = None, sampling: str | None = None
) -> dict[str, str | None]:
    """What `opened` takes, to open a network again from anywhere on this machine."""

    def whole(path: Path | None) -> str | None:
        return None if path is None else str(path.resolve() if path.exists() else path)

    run, encoder = (model, None) if head is None else (head, model)  # as galleries have always held it
    return {"run": whole(run), "encoder": whole(encoder), "engine": engine, "sampling": sampling}
