"""`intraclip export`: write a network, check the file against its origin, and let it appear only if it is right."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import Recipe
from intraclip.core.files import name_new
from intraclip.core.tensor_digest import digest
from intraclip.core.utf8 import utf8_path
from intraclip.errors import ConfigError, OutputError
from intraclip.export.compare import Agreement, Frames, compare
from intraclip.export.description import Description, describe_network
from intraclip.export.engines import RUNS
from intraclip.export.formats import SUFFIXES, WRITERS, Format, onnx_to_openvino, write_onnx
from intraclip.export.graph import Graph, Part, build_graph
from intraclip.export.networks import open_network
from intraclip.export.quantize import Target, calibration_batches, describe_onnx, quantize_onnx
from intraclip.export.reference import check_reference, make_reference, reference_inputs
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.fingerprint import embedding_fingerprint, encoder_fingerprint

ExportPrecision = Literal["fp32", "int8"]

INT8_ENGINES: dict[Format, Target] = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Who runs an int8 file of a format."""

LOWEST_COSINE = 0.9999
"""An fp32 file that agrees less than this with its origin, anywhere, is refused."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What `write_network` wrote."""

    path: Path
    description: Description
    agreement: Agreement
    engine: str
    megabytes: float


def write_network(
    model: ClipEmbedder,
    recipe: Recipe,
    out: Path,
    *,
    format: Format,
    part: Part = "clip",
    precision: ExportPrecision = "fp32",
    frames: Frames,
    calibration: Frames | None = None,
    force: bool = True,
) -> Written:
    """Write a network, on the CPU and in evaluation mode, to a file; its suffix must fit the format.

    The file is made and checked in a folder beside its place, and moved there when it is right: after an error or a
    crash there is no half or wrong file. OpenVINO writes a .bin file beside it. ``clip`` is the whole network,
    ``frame`` the backbone with its spatial mean. The file is checked with `frames`, uint8 ``[K, H, W, 3]`` RGB of the
    recipe's size; int8 (not for torch) needs `calibration`, uint8 clips ``[K, T, H, W, 3]``. Without `force`, files
    that are there are refused, also those that appear in the meantime.

    Raises:
        ConfigError: the suffix, or the precision, does not fit the format; or the head has no frame part.
        OutputError: the file cannot be written, or does not agree with the network; nothing is left behind.
    """
    check_request(out, format=format, precision=precision)
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise ConfigError("int8 needs calibration clips: give training tracklets with --data")
    graph = build_graph(model, recipe.input, part)
    description = describe_network(
        model,
        recipe,
        part=part,
        precision=precision,
        fingerprint=_fingerprint(model, recipe, part, calibration if precision == "int8" else None, format),
        engines=RUNS[out.suffix.lower()] if precision == "fp32" else (INT8_ENGINES[format],),
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder,
            utf8_path(Path(folder) / f"network{out.suffix}") as name,
        ):
            partial = Path(name)
            if precision == "int8" and calibration is not None:
                description = _write_int8(graph, description, partial, format=format, calibration=calibration)
            else:
                description = _with_reference(description, lambda inputs: _run_graph(graph, inputs))
                WRITERS[format](graph, description, partial)
            network = open_network(partial, check=False)
            found = compare(graph, network, frames)
            _require_agreement(found, out, precision)
            check_reference(network)
            files = sorted(Path(folder).iterdir())
            size = sum(file.stat().st_size for file in files)
            # The .bin comes before its .xml, so that whoever sees the .xml finds the weights.
            _place(files, out, force=force)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}") from None
    return Written(
        path=out,
        description=description,
        agreement=found,
        engine=network.engine,
        megabytes=size / 1e6,
    )


def _place(files: Sequence[Path], out: Path, *, force: bool) -> None:
    """Give finished files the name of `out`, each with its own ending."""
    placed: list[Path] = []
    for file in files:
        path = out.with_suffix(file.suffix)
        if force:
            file.replace(path)
            continue
        try:
            name_new(file, path)
        except OutputError:
            for other in placed:
                other.unlink()
            raise
        placed.append(path)


def check_request(out: Path, *, format: Format, precision: ExportPrecision) -> None:
    """Raise a ConfigError where suffix, format and precision do not fit, before any work is done."""
    if out.suffix.lower() != SUFFIXES[format]:
        raise ConfigError(f"{out}: --format {format} writes {SUFFIXES[format]}; choose such a name")
    if precision == "int8" and format == "torch":
        raise ConfigError("int8 is written as onnx or openvino; --format torch holds fp32")


def _write_int8(
    graph: Graph, description: Description, path: Path, *, format: Format, calibration: Frames
) -> Description:
    whole, small = path.with_name("fp32.onnx"), path.with_name("int8.onnx")
    write_onnx(graph, description, whole)
    engine = INT8_ENGINES[format]
    quantize_onnx(whole, small, calibration_batches(calibration, part=description.part), target=engine)
    whole.unlink()
    # Not the answer of the network it came from: what int8 costs would hide what another processor changes.
    description = _with_reference(description, open_network(small, engine=engine, check=False).run)
    describe_onnx(small, description.to_metadata())
    if format == "openvino":
        onnx_to_openvino(small, description, path)
        small.unlink()
    else:
        small.replace(path)
    return description


def _with_reference(
    description: Description, run: Callable[[list[npt.NDArray[Any]]], npt.NDArray[Any]]
) -> Description:
    answer = run(reference_inputs(description))
    return replace(description, reference=make_reference(answer, description.precision))


@torch.inference_mode()
def _run_graph(graph: Graph, inputs: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    found: torch.Tensor = graph(*map(torch.from_numpy, inputs))
    return found.numpy()


def _require_agreement(found: Agreement, out: Path, precision: ExportPrecision) -> None:
    if np.isnan(found.cosine):
        raise OutputError(
            f"{out} is not written: the exported network gives numbers that are not finite, or vectors of another size"
        )
    if precision == "fp32" and found.cosine < LOWEST_COSINE:
        raise OutputError(
            f"{out} is not written: the exported network disagrees with the original, cosine similarity "
            f"{found.cosine:.6f} at the lowest of {found.vectors} vectors, at least {LOWEST_COSINE} is asked for; "
            "try another --format, and please report it with the recipe"
        )


def _fingerprint(
    model: ClipEmbedder,
    recipe: Recipe,
    part: Part,
    calibration: npt.NDArray[np.uint8] | None,
    format: Format,
) -> str:
    """Of the vectors that the file gives: for fp32 those of the network itself."""
    whole = encoder_fingerprint(model)
    if part == "clip":
        whole = embedding_fingerprint(whole, model.head, recipe.clip)
    if calibration is None:
        return whole
    return digest({"network": whole, "int8": format}, {"calibration": torch.from_numpy(calibration)})
