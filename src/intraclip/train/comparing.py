"""In which keys two recipes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intraclip.config import HEADS, Recipe
from intraclip.core.registry import open_registry
from intraclip.core.setting_tables import flat
from intraclip.core.settings import table_of


def differing_keys(old: Recipe, new: Recipe) -> list[str]:
    """Keys in which two recipes differ, as "section.key: old -> new".

    >>> differing_keys(Recipe(), Recipe(seed=7))
    ['seed: 0 -> 7']
    """
    return _differing(flat(table_of(old)), flat(table_of(new)))


NO_EFFECT = ("description", "data.workers", "data.prefetch", "run.")
"""Keys, and beginnings of keys, that change nothing about the network that is trained."""


def differing_in_effect(old: Recipe, new: Recipe, *, ignore: Sequence[str] = ()) -> list[str]:
    """Keys in which two recipes differ so that they train another network, as "section.key: old -> new".

    Keys that a recipe does not read do not count: the triplet loss's vector for TAP, which has only one.
    ``model.triplet_reads`` is compared as what it comes to, not as it is written: a default that becomes a name for the
    same thing makes no other recipe.

    Args:
        old: such as that of a run that is there.
        new: such as that of the run that is wanted.
        ignore: more keys that may differ.

    >>> from dataclasses import replace
    >>> def model(**keys):
    ...     return replace(Recipe(), model=replace(Recipe().model, **keys))
    >>> differing_in_effect(model(head="tap"), model(head="tap", triplet_reads="pooled"))
    []
    >>> differing_in_effect(model(), model(triplet_reads="pooled", head_settings={"reduction": 8}))
    ['model.head.reduction: 4 -> 8']
    """
    read = [
        {
            key: value
            for key, value in _in_effect(recipe).items()
            if key not in ignore and not key.startswith(NO_EFFECT)
        }
        for recipe in (old, new)
    ]
    return _differing(*read)


def _in_effect(recipe: Recipe) -> dict[str, Any]:
    """The values that a training reads, by their keys."""
    from intraclip.models.embedder import triplet_vector  # brings torch

    read = flat(table_of(recipe))
    read["model.triplet_reads"] = triplet_vector(recipe.model)
    if open_registry(HEADS).load(recipe.model.head).triplet_reads == "either":
        del read["model.triplet_reads"]
    return read


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    # A key that only one of them has belongs to its head, and the heads differ.
    return [f"{key}: {a[key]} -> {b[key]}" for key in a if key in b and a[key] != b[key]]
