"""How cameras are watched."""

from __future__ import annotations

from dataclasses import dataclass

from intraclip.core.settings import bounded, require_bounds
from intraclip.core.streams import PATIENCE_S


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How cameras are watched; lengths of time in seconds.

    Attributes:
        loop: files begin again when they are over.
        speed: files are played so many times as fast as the clock; 0 plays them as fast as their frames are looked at,
            and drops none.
        longest_s: somebody who stays longer enters the gallery in parts of this length; 0 for never.
        look_s: everybody is embedded as often as this.
        least_looks: tracklets with fewer are dropped.
        alert_gap_s: between two alerts about one person in one camera, at least.
        keep_s: tracklets older than this are deleted; 0 keeps all.
        patience_s: a camera that sends nothing for so long is opened again.
        first_wait_s: before a camera that failed is opened again for the first time; then twice as long each time.

    Raises:
        ConfigError: a value is out of range.
    """

    loop: bool = False
    speed: float = bounded(1.0, 0)
    longest_s: float = bounded(20.0, 0)
    look_s: float = bounded(0.4, 0, above=True)
    least_looks: int = bounded(3, 1)
    alert_gap_s: float = bounded(60.0, 0)
    keep_s: float = bounded(0.0, 0)
    patience_s: float = bounded(PATIENCE_S, 0, above=True)
    first_wait_s: float = bounded(1.0, 0, above=True)

    def __post_init__(self) -> None:
        require_bounds(self, "live")
