"""Optional dependencies: imported, or named with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from intraclip.errors import MissingExtraError


def require_extra(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency or say how to install it.

    Raises:
        MissingExtraError: it is not installed.

    >>> require_extra("no_such_module", extra="report", purpose="plots")
    Traceback (most recent call last):
    ...
    intraclip.errors.MissingExtraError: plots: no_such_module is not installed; run: pip install 'intraclip[report]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise MissingExtraError(
            f"{purpose}: {module} is not installed; run: pip install 'intraclip[{extra}]'"
        ) from None
