"""Every command with the dataclass of its flags, for completion and for tests."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from intraclip.cli.main import COMMANDS


@cache
def tree() -> dict[str, type[Any]]:
    """Command as it is typed -> dataclass: of a group those of its `PARTS`, else ``FindArgs`` of ``find``."""
    found: dict[str, type[Any]] = {}
    for name in COMMANDS:
        module = import_module(f"intraclip.cli.{name}")
        if parts := getattr(module, "PARTS", None):
            found |= {f"{name} {part}": kind for part, (kind, _) in parts.items()}
        else:
            found[name] = getattr(module, f"{name.title()}Args")
    return found
