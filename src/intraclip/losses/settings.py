"""Settings of the losses. No torch in here: recipes are read without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intraclip.core.settings import bounded, share


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Settings that every loss has; a loss with more declares a dataclass that builds on this one."""

    weight: float = bounded(0.0, 0)
    """Of the loss in the sum; at 0 it is not computed, unless it is always logged."""


@dataclass(frozen=True, kw_only=True)
class TripletSettings(LossSettings):
    """Settings of the loss ``triplet``."""

    weight: float = bounded(1.0, 0)
    """Of the triplet loss in the sum."""
    kind: Literal["margin", "soft"] = "margin"
    """Hinge with a margin, or softplus (Hermans et al. 2017)."""
    margin: float = bounded(0.3, 0)
    """Margin of the hinge; the paper does not print it, 0.3 is what code of this recipe uses."""
    unit: bool = False
    """It reads vectors of unit length, so that they cannot shrink to one point to please it. The paper does not say;
    its vectors are taken as they are."""


@dataclass(frozen=True, kw_only=True)
class IdentitySettings(LossSettings):
    """Settings of the loss ``identity``."""

    weight: float = bounded(1.0, 0)
    """Of the cross-entropy over training identities in the sum."""
    label_smoothing: float = share(0.0)
    """Share of the target that is spread over all identities."""


@dataclass(frozen=True, kw_only=True)
class CircleSettings(LossSettings):
    """Settings of the loss ``circle``."""

    margin: float = bounded(0.25, 0)
    """How far from 1 and from 0 cosines may stay."""
    scale: float = bounded(64.0, 0, above=True)
    """Scale of the cosines, gamma."""


@dataclass(frozen=True, kw_only=True)
class MemorySettings(LossSettings):
    """Settings of the loss ``memory``."""

    temperature: float = bounded(0.05, 0, above=True)
    """What cosines to the memory are divided by."""
    momentum: float = share(0.2)
    """Share of a memory's entry that a step keeps."""


@dataclass(frozen=True, kw_only=True)
class OIMSettings(LossSettings):
    """Settings of the loss ``oim``."""

    scale: float = bounded(30.0, 0, above=True)
    """What cosines to the table are multiplied by."""
    momentum: float = share(0.5)
    """Share of an identity's row in the table that a feature leaves."""


@dataclass(frozen=True, kw_only=True)
class SiameseSettings(LossSettings):
    """Settings of the loss ``siamese``."""

    margin: float = bounded(2.0, 0)
    """How far apart two people should be."""


@dataclass(frozen=True, kw_only=True)
class PartTripletSettings(LossSettings):
    """Settings of the loss ``parts``."""

    margin: float = bounded(0.4, 0)
    """Of the hinge."""
