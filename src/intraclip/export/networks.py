"""Run network files of any origin: ONNX Runtime, OpenVINO, torch.export. One small interface over the three."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from intraclip.core.extras import require_extra
from intraclip.core.openvino_cpu import compiled, openvino_core
from intraclip.core.utf8 import utf8_path
from intraclip.errors import CheckpointError, ConfigError, IntraclipError, did_you_mean
from intraclip.export.engines import RUNS, installed
from intraclip.export.reference import check_reference

Array = npt.NDArray[Any]


class Port(NamedTuple):
    """An input or output of a network.

    Attributes:
        shape: one entry an axis; None where any length is allowed.
        dtype: ``uint8``, ``float32``, ``bool``, ...
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        axes = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name} {self.dtype} [{axes}]"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network file, ready to run.

    Attributes:
        inputs: in the order in which `run` takes them.
        outputs: all of them; `run` gives one.
        metadata: text by key, as the file holds it.
        answer: what `run` calls, with the number of the output.
    """

    engine: str
    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    answer: Callable[[Sequence[Array], int], Array]

    def run(self, arrays: Sequence[Array], *, output: int = 0) -> Array:
        """Feed the inputs, get one output."""
        return self.answer(arrays, output)


def _onnxruntime(path: Path) -> Network:
    """An ONNX file on ONNX Runtime's CPU provider.

    Batch normalisation is folded into convolutions and layouts are blocked by ONNX Runtime itself (all optimisations
    are on by default). It runs with as many threads as torch.
    """
    runtime = require_extra("onnxruntime", extra="export", purpose="engine onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only: exporters leave many harmless warnings behind
    options.intra_op_num_threads = torch.get_num_threads()
    # Other people's int8 files, and old ones, have weights of 8 bits: without VNNI their sums saturate in 16 bits,
    # unless the weights are shifted to 0..255. Nothing changes where the processor has VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Spinning threads are a few percent faster on an idle machine, and half as fast where decoding wants the same
    # cores. The setting is OpenMP's, which `intraclip.process.tune` makes passive.
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with utf8_path(path) as name:
        session = runtime.InferenceSession(name, sess_options=options, providers=["CPUExecutionProvider"])
    inputs, outputs = (
        tuple(map(_onnx_port, ports)) for ports in (session.get_inputs(), session.get_outputs())
    )

    def answer(arrays: Sequence[Array], output: int) -> Array:
        feed = {port.name: array for port, array in zip(inputs, arrays, strict=True)}
        found: Array = session.run([outputs[output].name], feed)[0]
        return found

    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return Network(
        engine="onnxruntime", path=path, inputs=inputs, outputs=outputs, metadata=metadata, answer=answer
    )


def _openvino(path: Path) -> Network:
    """An ONNX file or an OpenVINO .xml file (its .bin beside it) on OpenVINO's CPU plugin."""
    core = openvino_core("engine openvino")
    if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
        raise CheckpointError(f"{path}: its weights, {path.with_suffix('.bin').name}, are not beside it")
    # read_model, not convert_model: the converter reports every use to its makers.
    with utf8_path(path, beside=(".bin",)) as name:
        model = core.read_model(name)
    request = compiled(core, model, threads=torch.get_num_threads()).create_infer_request()

    def answer(arrays: Sequence[Array], output: int) -> Array:
        request.infer(dict(enumerate(arrays)), share_inputs=True)
        # A copy: the request writes its next answer into the same memory.
        return np.array(request.get_output_tensor(output).data)

    return Network(
        engine="openvino",
        path=path,
        inputs=tuple(map(_openvino_port, model.inputs)),
        outputs=tuple(map(_openvino_port, model.outputs)),
        metadata=_openvino_metadata(model, path),
        answer=answer,
    )


def _torch(path: Path) -> Network:
    """A file of torch.export (.pt2), without the code of the network."""
    extra = {"description.json": ""}
    with utf8_path(path) as name:
        program = torch.export.load(name, extra_files=extra)
    module = program.module().to(memory_format=torch.channels_last)
    nodes = list(program.graph.nodes)
    given = [n for n in nodes if n.op == "placeholder" and n.name in program.graph_signature.user_inputs]

    @torch.inference_mode()
    def answer(arrays: Sequence[Array], output: int) -> Array:
        found = module(*map(torch.from_numpy, arrays))
        chosen: torch.Tensor = found[output] if isinstance(found, tuple | list) else found
        return chosen.numpy()

    return Network(
        engine="torch",
        path=path,
        inputs=tuple(map(_torch_port, given)),
        outputs=tuple(map(_torch_port, next(n for n in nodes if n.op == "output").args[0])),
        metadata=json.loads(extra["description.json"] or "{}"),
        answer=answer,
    )


_ENGINES: dict[str, tuple[Callable[[Path], Network], str]] = {
    "onnxruntime": (_onnxruntime, "ONNX"),
    "openvino": (_openvino, "ONNX or OpenVINO"),
    "torch": (_torch, "torch.export"),
}
"""By name: what opens a file, and what kind of file that is."""


def open_network(path: Path, *, engine: str = "auto", check: bool = True) -> Network:
    """Open a network file.

    Args:
        path: .onnx, .xml (OpenVINO) or .pt2 (torch.export).
        engine: ``onnxruntime``, ``openvino``, ``torch``, or ``auto``: the fastest installed one that runs this kind of
            file.
        check: whether it answers as it did where it was written, see `check_reference`.

    Raises:
        CheckpointError: no such file, a damaged one, or one that answers otherwise than where it was written.
        ConfigError: the engine cannot run this kind of file.
    """
    fitting = RUNS.get(path.suffix.lower())
    if fitting is None:
        raise ConfigError(f"{path}: {path.suffix or 'no suffix'} is not one of {', '.join(RUNS)}")
    if engine == "auto":
        engine = next((name for name in fitting if installed(name)), fitting[0])
    if engine not in fitting:
        raise ConfigError(
            f"{path}: engine {engine} cannot run {path.suffix} files; use {' or '.join(fitting)}"
        )
    if not path.is_file():
        raise CheckpointError(f"there is no network {path}")
    if not path.stat().st_size:
        raise CheckpointError(f"the network {path} is an empty file")
    opener, kind = _ENGINES[engine]
    try:
        network = opener(path)
    except IntraclipError:
        raise
    except Exception as error:  # a damaged file fails in a dozen ways, with classes of the engines' own
        raise CheckpointError(_not_a_network(path, kind, error)) from None
    if check:
        check_reference(network)
    return network


def find_output(network: Network, name: str = "") -> int:
    """Number of the output to use.

    Raises:
        ConfigError: no such output, or several and none named; the message lists them.
    """
    names = [port.name for port in network.outputs]
    shown = ", ".join(map(str, network.outputs))
    if not name:
        if len(names) == 1:
            return 0
        raise ConfigError(f"{network.path} has {len(names)} outputs ({shown}); name one as output")
    if name not in names:
        raise ConfigError(f"{network.path} has no output {name!r}{did_you_mean(name, names)}; it has {shown}")
    return names.index(name)


def _not_a_network(path: Path, kind: str, error: Exception) -> str:
    # The last line is the one with the reason; OpenVINO puts its own source files before it.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1] if lines else type(error).__name__
    return f"{path} ({path.stat().st_size} bytes) cannot be run as {kind}: {reason[:300]}"


def _onnx_port(port: Any) -> Port:
    kinds = {"float": "float32", "double": "float64"}
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    return Port(
        port.name, tuple(n if isinstance(n, int) else None for n in port.shape), kinds.get(kind, kind)
    )


def _openvino_port(port: Any) -> Port:
    kinds = {"u8": "uint8", "f32": "float32", "f16": "float16", "boolean": "bool"}
    shape = tuple(None if n.is_dynamic else n.get_length() for n in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return Port(port.get_any_name(), shape, kinds.get(kind, kind))


def _openvino_metadata(model: Any, path: Path) -> dict[str, str]:
    # OpenVINO keeps what an ONNX file says about itself under a key of its own.
    keys = ["framework"] if path.suffix == ".onnx" else ["intraclip"]
    if not model.has_rt_info(keys):
        return {}
    found = model.get_rt_info(keys).value
    return {str(k): str(getattr(v, "value", v)) for k, v in found.items()} if isinstance(found, dict) else {}


def _torch_port(node: torch.fx.Node) -> Port:
    value = node.meta["val"]
    shape = tuple(n if isinstance(n, int) else None for n in value.shape)
    return Port(node.name, shape, str(value.dtype).removeprefix("torch."))
