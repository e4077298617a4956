"""Packages that are called by their own name: ``intraclip.link(...)`` beside ``intraclip.link.people``.

Python sets a package's name to the package itself as soon as anything in it is imported, so a function of that name
would be lost. Instead the package becomes callable.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, *, module: str, function: str) -> None:
    """Let a package that is being imported call a function of one of its modules, which is loaded at the first call."""

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.__function__(*args, **kwargs)

        @property
        def __function__(self) -> Any:
            return getattr(import_module(f"{package}.{module}"), function)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(self.__function__)

    sys.modules[package].__class__ = CallablePackage
