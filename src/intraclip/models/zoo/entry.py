"""What the zoo knows of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["re-ID network", "detector", "backbone", "checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """What somebody measured.

    Attributes:
        data: the data set, with the training data where that is another one.
        values: such as ``rank-1 92.9, mAP 76.6``, in percent.
        source: who says so: a paper, a model card, or "measured here".
    """

    data: str
    values: str
    source: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.data}: {self.values} ({self.source})"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a network.

    Attributes:
        name: in the cache.
        url: the project's own address; empty where there is no direct one.
        sha256: its digest, or how it begins (torchvision's file names hold eight digits); empty where it is not known
            before the first download, which then pins it.
        copies: digests of copies that were seen elsewhere and work; where from.
    """

    name: str
    url: str = ""
    sha256: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the zoo.

    Attributes:
        kind: what it is used for. A ``checkpoint`` is a network of intraclip's own, backbone and head.
        parameters: in millions; None where it is not known.
        megabytes: of all its files together; None where it is not known.
        licence: of the weights, or that it is unclear.
        trained_on: data sets, or that they are not published.
        scores: on named data.
        files: the first is the one that is opened.
        opens: how frames are prepared (`intraclip.embed.encoders.foreign`), for re-identification networks.
        backbone: `model.backbone` that the weights fit, for backbones.
        by_hand: what to do where there is no address that a program can download from.
        shipped: path inside the package, for what comes with it.
    """

    name: str
    kind: Kind
    what: str
    licence: str
    trained_on: str
    parameters: float | None = None
    megabytes: float | None = None
    scores: tuple[Score, ...] = ()
    files: tuple[File, ...] = ()
    opens: Mapping[str, object] = field(default_factory=dict)
    backbone: str = ""
    by_hand: str = ""
    shipped: str = ""

    @property
    def size(self) -> str:
        """Of its files, for people."""
        return "size not known" if self.megabytes is None else f"{self.megabytes:.1f} MB"
