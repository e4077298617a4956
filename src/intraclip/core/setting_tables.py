"""Tables of settings: their values by key, and one table over another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from intraclip.core.registry import Registry
from intraclip.core.settings import hints_of, part_table, registry_of


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their keys, such as ``model.head.reduction``; the name of a part has the part's own key.

    >>> flat({"seed": 3, "model": {"head": {"name": "ica", "reduction": 4}}})
    {'seed': 3, 'model.head': 'ica', 'model.head.reduction': 4}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix.removesuffix(".") if key == "name" and prefix else f"{prefix}{key}"] = value
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The table of values by their keys, as `flat` gives them.

    >>> nested({"model.head": "ica", "model.head.reduction": 4, "seed": 3})
    {'model': {'head': {'name': 'ica', 'reduction': 4}}, 'seed': 3}
    """
    table: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = table
        for section in sections:
            own = place.get(section, {})
            place[section] = own if isinstance(own, dict) else {"name": own}
            place = place[section]
        if isinstance(place.get(name), dict):
            place[name]["name"] = value
        else:
            place[name] = value
    return table


def merged(kind: type[Any], below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A table over another one, table by table.

    Settings of a part go with it when another one takes its place, unless both declare the same settings.

    Args:
        kind: dataclass that the tables are of.
        below: the one whose values stay where the other gives none.
        above: the other one.
    """
    found = dict(below)
    known, hints = {f.name: f for f in fields(kind)}, hints_of(kind)  # type: ignore[arg-type]
    for key, value in above.items():
        registry = registry_of(known[key]) if key in known else None
        own = below.get(key)
        if registry is not None:
            found[key] = _replaced(registry, known[key].default, own, value)
        elif key in known and registry_of(known[key], "parts") is not None:
            found[key] = value
            if isinstance(own, Mapping) and isinstance(value, Mapping):  # part by part, setting by setting
                joined = {n: {**own[n], **v} for n, v in value.items() if n in own and isinstance(v, Mapping)}
                found[key] = {**own, **value, **joined}
        elif isinstance(own, Mapping) and isinstance(value, Mapping) and is_dataclass(hints.get(key)):
            found[key] = merged(hints[key], own, value)
        else:
            found[key] = value
    return found


def _replaced(registry: Registry, default: Any, below: Any, above: Any) -> Any:
    own = {"name": default, **part_table(below)}
    new = {"name": own["name"], **part_table(above)}
    stays = own["name"] == new["name"]
    if not stays and len(own) > 1 and not any(registry.problem(str(one["name"])) for one in (own, new)):
        stays = registry.settings_type(own["name"]) is registry.settings_type(new["name"])
    return {**own, **new} if stays else new
