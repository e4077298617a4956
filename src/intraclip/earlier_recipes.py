"""Recipes of earlier versions: keys that are called otherwise now, or mean nothing any more."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from intraclip.config import Recipe
from intraclip.core.settings import part_table, shown

RETIRED = {
    "data.decode": (
        "cpu",
        "frames are decoded by the workers; the pixels differ from a GPU's by a few grey levels",
    )
}
"""Keys that recipes of earlier versions have: the value that means what is done now, and what is said of others."""

_FIRST_BACKBONES = ("resnet50", "inception_v3", "alexnet", "resnet18", "small", "timm:")
MOVED = {
    "model.last_stride": ("model.backbone", _FIRST_BACKBONES, "last_stride"),
    "model.width": ("model.backbone", _FIRST_BACKBONES, "width"),
    "model.ica_reduction": ("model.head", ("ica",), "reduction"),
    "model.ica_expansion": ("model.head", ("ica",), "expansion"),
    "model.ica_order": ("model.head", ("ica",), "order"),
    "model.stripes": ("model.head", ("stripes",), "stripes"),
    "model.stripes_size": ("model.head", ("stripes",), "embedding_size"),
    "loss.triplet": ("loss.triplet", (), "kind"),
    "loss.margin": ("loss.triplet", (), "margin"),
    "loss.triplet_unit": ("loss.triplet", (), "unit"),
    "loss.triplet_weight": ("loss.triplet", (), "weight"),
    "loss.identity_weight": ("loss.identity", (), "weight"),
    "loss.label_smoothing": ("loss.identity", (), "label_smoothing"),
    "loss.circle_weight": ("loss.circle", (), "weight"),
    "loss.circle_margin": ("loss.circle", (), "margin"),
    "loss.circle_scale": ("loss.circle", (), "scale"),
    "loss.memory_weight": ("loss.memory", (), "weight"),
    "loss.memory_temperature": ("loss.memory", (), "temperature"),
    "loss.memory_momentum": ("loss.memory", (), "momentum"),
}
"""Keys that recipes of earlier versions have for settings of a part: where the part is named now, the parts that have
the setting (none where all parts of its kind are at work), and its name there. Earlier versions wrote them for every
network; for other parts they mean nothing."""


def migrated(table: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's table with the keys of earlier versions (`MOVED`, `RETIRED`) as they are now.

    Args:
        table: of this version or an earlier one.
        below: what it inherits, of this version: it may name the part that a key belongs to.

    >>> migrated({"model": {"head": "ica", "ica_reduction": 8, "stripes": 3}}, {})
    {'model': {'head': {'name': 'ica', 'reduction': 8}}}
    >>> migrated({"loss": {"triplet": "soft", "margin": 0.4, "circle": {"weight": 1}}}, {})
    {'loss': {'circle': {'weight': 1}, 'triplet': {'kind': 'soft', 'margin': 0.4}}}
    """
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    for key in (*RETIRED, *MOVED):
        section, name = key.split(".")
        keys = found.get(section)
        if not isinstance(keys, dict) or name not in keys:
            continue
        raw = keys.pop(name)
        if key in RETIRED:
            means_now, note = RETIRED[key]
            if raw != means_now:
                warnings.warn(f"{key} = {shown(raw)} is not read any more: {note}", stacklevel=2)
            continue
        place, owners, new = MOVED[key]
        _, chooses = place.split(".")
        if not owners:
            if key == place and isinstance(raw, Mapping):
                # today's table; a flag's word stands in it as its name
                own = dict(raw)
                keys[name] = {new: own.pop("name"), **own} if "name" in own else own
            else:
                own = keys.get(chooses, {})
                keys[chooses] = {**own, new: own.get(new, raw)} if isinstance(own, Mapping) else own
            continue
        own, inherited = _part(found, section, chooses), _part(below, section, chooses)
        chosen = own.get("name", inherited.get("name", _default_part(section, chooses)))
        if chosen in owners or (isinstance(chosen, str) and chosen.partition(":")[0] + ":" in owners):
            keys[chooses] = {**own, new: own.get(new, raw)}
    return found


def _part(table: Mapping[str, Any], section: str, key: str) -> dict[str, Any]:
    keys = table.get(section)
    return part_table(keys.get(key)) if isinstance(keys, Mapping) else {}


def _default_part(section: str, key: str) -> Any:
    return getattr(getattr(Recipe(), section), key)
