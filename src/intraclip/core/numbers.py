"""How large numbers of people, cameras and frames may be, and how numbers are said."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

MAX_ID = 2**53 - 1
"""Beyond it tables of floats, JSON and browsers lose digits."""


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON or TOML is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(50), duration(400), duration(8000), duration(400000)
    ('50 s', '7 min', '2.2 h', '4.6 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
