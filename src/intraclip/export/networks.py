"""Run network files of any origin: ONNX Runtime, OpenVINO, torch.export. One small interface over the three."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from intraclip.core.extras import require_extra
from intraclip.core.openvino_cpu import compiled, openvino_core
from intraclip.core.utf8 import utf8_path
from intraclip.errors import CheckpointError, ConfigError, did_you_mean
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


class Network(Protocol):
    """A network file, ready to run.

    Attributes:
        inputs: in the order in which `run` takes them.
        outputs: all of them; `run` gives one.
        metadata: text by key, as the file holds it.
    """

    engine: str
    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    def run(self, arrays: Sequence[Array], *, output: int = 0) -> Array:
        """Feed the inputs, get one output."""
        ...


class OnnxRuntimeNetwork:
    """An ONNX file on ONNX Runtime's CPU provider; see `Network`.

    Batch normalisation is folded into convolutions and layouts are blocked by ONNX Runtime itself (all optimisations
    are on by default). It runs with as many threads as torch.
    """

    engine = "onnxruntime"

    def __init__(self, path: Path) -> None:
        runtime = require_extra("onnxruntime", extra="export", purpose="engine onnxruntime")
        require_file(path)
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
        try:
            with utf8_path(path) as name:
                self._session = runtime.InferenceSession(
                    name, sess_options=options, providers=["CPUExecutionProvider"]
                )
        except Exception as error:  # ONNX Runtime has a dozen classes of its own for a bad file
            raise CheckpointError(_not_a_network(path, "ONNX", error)) from None
        self.path = path
        self.inputs = tuple(_onnx_port(port) for port in self._session.get_inputs())
        self.outputs = tuple(_onnx_port(port) for port in self._session.get_outputs())
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, arrays: Sequence[Array], *, output: int = 0) -> Array:
        """See `Network.run`."""
        feed = {port.name: array for port, array in zip(self.inputs, arrays, strict=True)}
        found: Array = self._session.run([self.outputs[output].name], feed)[0]
        return found


class OpenVinoNetwork:
    """An ONNX file or an OpenVINO .xml file (its .bin beside it) on OpenVINO's CPU plugin; see `Network`."""

    engine = "openvino"

    def __init__(self, path: Path) -> None:
        core = openvino_core("engine openvino")
        require_file(path)
        if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
            raise CheckpointError(f"{path}: its weights, {path.with_suffix('.bin').name}, are not beside it")
        try:
            # read_model, not convert_model: the converter reports every use to its makers.
            with utf8_path(path, beside=(".bin",)) as name:
                model = core.read_model(name)
            self._request = compiled(core, model, threads=torch.get_num_threads()).create_infer_request()
        except Exception as error:  # OpenVINO raises RuntimeError, and its own classes
            raise CheckpointError(_not_a_network(path, "ONNX or OpenVINO", error)) from None
        self.path = path
        self.inputs = tuple(_openvino_port(port) for port in model.inputs)
        self.outputs = tuple(_openvino_port(port) for port in model.outputs)
        self.metadata: Mapping[str, str] = _openvino_metadata(model, path)

    def run(self, arrays: Sequence[Array], *, output: int = 0) -> Array:
        """See `Network.run`."""
        self._request.infer(dict(enumerate(arrays)), share_inputs=True)
        # A copy: the request writes its next answer into the same memory.
        return np.array(self._request.get_output_tensor(output).data)


class TorchNetwork:
    """A file of torch.export (.pt2), without the code of the network; see `Network`."""

    engine = "torch"

    def __init__(self, path: Path) -> None:
        require_file(path)
        extra = {"description.json": ""}
        try:
            with utf8_path(path) as name:
                program = torch.export.load(name, extra_files=extra)
        except Exception as error:  # a damaged archive fails in a dozen ways
            raise CheckpointError(_not_a_network(path, "torch.export", error)) from None
        self._module = program.module().to(memory_format=torch.channels_last)
        self.path = path
        self.inputs = tuple(
            _torch_port(node)
            for node in program.graph.nodes
            if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
        )
        outputs = next(node for node in program.graph.nodes if node.op == "output").args[0]
        self.outputs = tuple(_torch_port(node) for node in outputs)
        self.metadata = json.loads(extra["description.json"] or "{}")

    @torch.inference_mode()
    def run(self, arrays: Sequence[Array], *, output: int = 0) -> Array:
        """See `Network.run`."""
        found = self._module(*(torch.from_numpy(array) for array in arrays))
        chosen: torch.Tensor = found[output] if isinstance(found, tuple | list) else found
        return chosen.numpy()


NETWORKS: dict[str, Callable[[Path], Network]] = {
    "onnxruntime": OnnxRuntimeNetwork,
    "openvino": OpenVinoNetwork,
    "torch": TorchNetwork,
}
"""Engines by name."""


def open_network(path: Path, *, engine: str = "auto", check: bool = True) -> Network:
    """Open a network file.

    Args:
        path: .onnx, .xml (OpenVINO) or .pt2 (torch.export).
        engine: ``onnxruntime``, ``openvino``, ``torch``, or ``auto``: the fastest installed one that runs this kind of
            file.
        check: whether it answers as it did where it was written, see `check_reference`.

    Raises:
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
    network = NETWORKS[engine](path)
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


def require_file(path: Path) -> None:
    """Raise a CheckpointError where there is no such file, or an empty one."""
    if not path.is_file():
        raise CheckpointError(f"there is no network {path}")
    if not path.stat().st_size:
        raise CheckpointError(f"the network {path} is an empty file")


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
