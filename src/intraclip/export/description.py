"""What an exported file says about itself: what it wants, what it gives, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from intraclip.config import Recipe
from intraclip.config_io import parse_json
from intraclip.core.environment import versions
from intraclip.core.settings import table_of
from intraclip.errors import CheckpointError
from intraclip.export.graph import Part
from intraclip.models.embedder import ClipEmbedder

FORMAT = "intraclip-network"
FORMAT_VERSION = 1
WEIGHT_BITS = 7
"""Of the weights of an int8 network: processors without VNNI add two products of 8 x 8 bits in 16 bits, where
2 x 255 x 127 saturates and 2 x 255 x 64 does not."""

PREFIX = "intraclip."
"""Of every key in the file's metadata; the values are JSON."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Metadata of an exported file. A program in any language can read it: text keys, JSON values.

    Attributes:
        part: ``frame`` (frames -> vectors) or ``clip`` (clips and masks -> embeddings).
        precision: ``fp32`` or ``int8``.
        height: of the frames, in pixels; resize to it, aspect ratio ignored.
        width: of the frames, in pixels.
        layout: order of the axes of `frames`: ``NCHW`` or ``NTCHW``.
        channel_order: ``RGB``.
        value_range: ``0..255 uint8``.
        normalisation: ``inside``: the network subtracts the mean and divides by the deviation itself.
        mean: that it subtracts from RGB scaled to 0..1.
        std: that it divides by.
        size: length of the vectors that come out.
        backbone: name.
        head: name of the head that the network was trained with; only ``clip`` holds it.
        recipe: the resolved recipe of the training run.
        versions: of the packages that wrote the file.
        engines: that it was made for. Others may run it more slowly.
        weight_bits: of the weights; 7 for int8, so that a sum of two products fits 16 bits on every processor. 0 in
            files of earlier versions.
        reference: pictures by rule, the vectors that the file gave for them when it was written, how well they must
            be met, and on what processor that was; see `intraclip.export.reference`. None in files of earlier versions.
    """

    part: Part
    precision: str
    height: int
    width: int
    layout: str
    channel_order: str = "RGB"
    value_range: str = "0..255 uint8"
    normalisation: str = "inside"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    backbone: str
    head: str
    fingerprint: str
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    engines: tuple[str, ...] = ()
    weight_bits: int = 0
    reference: Mapping[str, Any] | None = None
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    def to_metadata(self) -> dict[str, str]:
        """As text by key, for a file's metadata."""
        return {f"{PREFIX}{key}": json.dumps(value) for key, value in asdict(self).items()}


def describe_network(
    model: ClipEmbedder,
    recipe: Recipe,
    *,
    part: Part,
    precision: str,
    fingerprint: str,
    engines: tuple[str, ...] = (),
) -> Description:
    """The description of a part of a network, without a reference."""
    return Description(
        part=part,
        precision=precision,
        height=recipe.input.height,
        width=recipe.input.width,
        layout="NCHW" if part == "frame" else "NTCHW",
        mean=recipe.input.mean,
        std=recipe.input.std,
        size=model.vector_size if part == "frame" else model.embedding_size,
        backbone=recipe.model.backbone,
        head=recipe.model.head,
        fingerprint=fingerprint,
        recipe=table_of(recipe),
        versions=versions("intraclip", "torch", "onnx", "onnxscript", "onnxruntime", "openvino"),
        engines=engines,
        weight_bits=WEIGHT_BITS if precision == "int8" else 32,
    )


def description_of(metadata: Mapping[str, str], *, source: str) -> Description | None:
    """Read a file's metadata back.

    Returns:
        None for a file that `intraclip export` did not write.

    Raises:
        CheckpointError: it is damaged, or of another format version.
    """
    if f"{PREFIX}format" not in metadata:
        return None
    try:
        values = {
            key.removeprefix(PREFIX): parse_json(value)
            for key, value in metadata.items()
            if key.startswith(PREFIX)
        }
        if values["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"{source} has export format {values['format_version']}, this version of intraclip reads "
                f"{FORMAT_VERSION}; export it again"
            )
        known = {field.name for field in fields(Description)}
        values = {key: value for key, value in values.items() if key in known}
        values |= {key: tuple(values[key]) for key in ("mean", "std")}
        return Description(**{**values, "engines": tuple(values.get("engines", ()))})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source} has damaged metadata: {error}; export it again") from None
