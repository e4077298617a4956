"""A question with its answer inside every file: who opens it elsewhere learns whether it computes the same there.

The pictures follow from their size by integers alone, so that they are the same on every machine and nobody's. The
answer is what the file gave when it was written.
"""

from __future__ import annotations

import base64
import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from intraclip.errors import CheckpointError
from intraclip.export.compare import agreement
from intraclip.export.description import Description, description_of

if TYPE_CHECKING:
    from intraclip.export.networks import Network

FRAMES = 2
"""Frames of the question; a clip network sees them as one clip."""

LOWEST_COSINE = {"fp32": 0.9999, "int8": 0.999}
"""Less agreement with the stored answer is refused. Engines and processors round differently, which is 1e-6 in fp32;
in int8 a value in the middle between two steps may take the other one."""


def reference_inputs(description: Description) -> list[npt.NDArray[Any]]:
    """The question: uint8 frames of 16 x 8 blocks of any colour, in the file's layout, and a mask for clips."""
    height, width = description.height, description.width
    frame, channel = np.ogrid[:FRAMES, :3]
    block = (np.arange(height)[:, None] * 16 // height) * 8 + np.arange(width) * 8 // width
    number = ((frame * 3 + channel)[..., None, None] * 128 + block + 1).astype(np.uint64)
    # Multiplicative hashing: neighbours get colours that are far apart.
    pixels = (number * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(24)).astype(np.uint8)
    if description.part == "frame":
        return [pixels]
    return [pixels[None], np.ones((1, FRAMES), dtype=np.bool_)]


def make_reference(answer: npt.NDArray[np.float32], precision: str) -> dict[str, Any]:
    """Question and answer for the metadata; JSON can hold it."""
    return {
        "frames": FRAMES,
        "vectors": base64.b64encode(answer.astype("<f4").tobytes()).decode(),
        "lowest_cosine": LOWEST_COSINE[precision],
        "processor": processor(),
    }


def check_reference(network: Network) -> None:
    """Ask a file that was opened its question. Files of others and of earlier versions have none, and pass.

    Raises:
        CheckpointError: it answers differently here, or its metadata is damaged.
    """
    description = description_of(network.metadata, source=str(network.path))
    if description is None or description.reference is None:
        return
    try:
        told = base64.b64decode(description.reference["vectors"], validate=True)
        wanted = np.frombuffer(told, dtype="<f4")
        if wanted.size % description.size:
            raise ValueError(f"{wanted.size} numbers for vectors of {description.size}")
        lowest, there = float(description.reference["lowest_cosine"]), str(description.reference["processor"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{network.path} has damaged metadata: reference: {error}; export it again"
        ) from None
    found = network.run(reference_inputs(description)).ravel()
    # Of all vectors as one, so that one of almost zero does not decide.
    cosine = agreement(wanted[None], found[None]).cosine
    if not cosine >= lowest:
        raise CheckpointError(
            f"{network.path}: engine {network.engine} computes something else here ({processor()}) than where the "
            f"file was written ({there}): cosine similarity {cosine:.4f} for the pictures that it carries, at least "
            f"{lowest} is asked for; try another --engine, or export it again on this machine"
        )


def processor() -> str:
    """Kind of processor, with its widest instructions: ``x86_64 AVX512``."""
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
