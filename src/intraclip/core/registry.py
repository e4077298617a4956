"""Registries: the parts of one kind by name, each imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from intraclip.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class NoSettings:
    """Of a part that has none."""


class Registry(Mapping[str, str]):
    """Names of parts -> where they are; names and errors cost no import of a part.

    A part is a class with ``Settings``, a dataclass. A name that ends with a colon stands for a family: what follows it
    is the part's own affair.

    Args:
        key: of the setting that chooses among them, for messages, such as ``model.head``.
        package: that holds them.
        places: name -> ``module:class`` in it.
        settings: module of the package with the settings of parts whose own module takes long to import; those of the
            class ``Sum`` are ``SumSettings`` there.

    >>> Registry("clip.sum", "fractions", {"half": ":Fraction"}).problem("halve")
    "'halve' is not one of half (did you mean 'half'?)"
    """

    def __init__(self, key: str, package: str, places: dict[str, str], *, settings: str = "") -> None:
        self.key, self._package, self._places, self._settings = key, package, places, settings

    def __getitem__(self, name: str) -> str:
        return self._places[name if name in self._places else self.family(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def family(self, name: str) -> str:
        """The name of the family that a name belongs to, such as ``timm:``; empty where it belongs to none."""
        first, colon, rest = name.partition(":")
        return f"{first}:" if colon and rest and f"{first}:" in self._places else ""

    def names(self) -> str:
        """All names, for people."""
        return ", ".join(f"{name}NAME" if name.endswith(":") else name for name in self)

    def problem(self, name: str) -> str:
        """What is wrong with a name; empty when nothing is."""
        if (name in self._places and not name.endswith(":")) or self.family(name):
            return ""
        return f"{name!r} is not one of {self.names()}{did_you_mean(name, self)}"

    def load(self, name: str) -> Any:
        """The part of a name, or a ConfigError that lists those that there are."""
        if wrong := self.problem(name):
            raise ConfigError(f"{self.key}: {wrong}")
        module, _, attribute = self[name].partition(":")
        return getattr(import_module(f"{self._package}.{module}".removesuffix(".")), attribute)

    def settings_type(self, name: str) -> Any:
        """The dataclass of a part's settings; errors as `load`."""
        if self._settings and not self.problem(name):
            module = import_module(f"{self._package}.{self._settings}")
            if found := getattr(module, f"{self[name].partition(':')[2]}Settings", None):
                return found
        return self.load(name).Settings


@cache
def open_registry(place: str) -> Registry:
    """The registry at ``package:NAME``; in this way settings name those of parts that build on them."""
    package, _, name = place.partition(":")
    found: Registry = getattr(import_module(package), name)
    return found
