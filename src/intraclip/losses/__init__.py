"""Losses, one file a loss: triplet and cross-entropy (paper, section 3.2), and what other recipes add."""

from __future__ import annotations

from intraclip.core.registry import Registry

LOSSES = Registry(
    "loss",
    __name__,
    {
        "triplet": "triplet:Triplet",
        "identity": "identity:Identity",
        "circle": "circle:Circle",
        "memory": "memory:Memory",
        "oim": "oim:OIM",
        "siamese": "siamese:Siamese",
        "parts": "parts:PartTriplet",
    },
    settings="settings",
)
"""Name, which is the key in the log -> file and class."""

ALWAYS = ("triplet", "identity")
"""Those that are computed and logged even where their weight is 0; the others are at work where a recipe says so."""
