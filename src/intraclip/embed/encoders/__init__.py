"""Frame encoders: networks that turn frames into one vector each, on any engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import torch

from intraclip.config import TIMM
from intraclip.core.devices import choose_device
from intraclip.embed.encoders.base import FrameEncoder as FrameEncoder
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.errors import ConfigError, DeviceError
from intraclip.export.engines import RUNS, installed
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.zoo import find, local_file, resolve, settings_of

Engine = Literal["auto", "torch", "onnxruntime", "openvino"]


def open_encoder(source: Path, *, engine: str = "auto", device: str | None = None) -> FrameEncoder:
    """Open a frame encoder.

    Args:
        source: a run folder or checkpoint; a file that `intraclip export --part frame` wrote; a TOML file that
            describes another network (`intraclip.embed.encoders.foreign`); ``timm:NAME`` with its usual weights; or a
            name of the zoo.
        engine: ``torch``, ``onnxruntime``, ``openvino``, or ``auto``: the fastest exact one that is installed and fits
            the source and the device.
        device: auto, cpu, cuda or cuda:N; by default as in the recipe, and the CPU for files. Only engine torch runs on
            GPUs.

    Raises:
        ConfigError: unknown engine, one that cannot run the source, or a wrong TOML file.
        DeviceError: the device is not there, or the engine does not run on it.
    """
    # Other engines and other people's networks bring much with them that a run does without.
    from intraclip.embed.encoders.exported import cached_export, open_exported
    from intraclip.embed.encoders.foreign import (
        load_network_config,
        network_config,
        open_described,
        usual_network,
    )

    if engine not in get_args(Engine):
        raise ConfigError(f"engine {engine!r} is not one of {', '.join(get_args(Engine))}")
    if engine in ("onnxruntime", "openvino") and device not in (None, "auto", "cpu"):
        raise DeviceError(f"engine {engine} runs on the CPU, not on {device}; use --engine torch there")
    if str(source).startswith(TIMM):
        return open_described(usual_network(str(source)), Path(), engine=engine, device=device)
    entry = None if source.exists() else find(str(source))
    if entry is not None and entry.kind == "re-ID network":
        file = local_file(entry)
        config = network_config(settings_of(entry), source=f"the zoo's {entry.name}")
        return open_described(config, file.parent, engine=engine, device=device)
    source = resolve(source, kinds=("checkpoint",))
    suffix = source.suffix.lower()
    if suffix == ".toml":
        return open_described(load_network_config(source), source.parent, engine=engine, device=device)
    if suffix in RUNS:
        return open_exported(source, engine=engine)
    checkpoint = read_checkpoint(model_file(source))
    if engine in ("auto", "torch"):
        target = choose_device(device or checkpoint.recipe.device)
        model = load_model(checkpoint, device=target)
        engine = fastest_engine(model, source, target) if engine == "auto" else engine
        if engine == "torch":
            return TorchEncoder(model)
    return cached_export(source, engine=engine)


def fastest_engine(model: ClipEmbedder, run: Path, device: torch.device) -> str:
    """The fastest engine that gives the same vectors as torch and can be used here (measured: docs/export.md).

    It is ONNX Runtime, then OpenVINO, on a CPU, where they and the packages that write ONNX are installed and the
    exported file has somewhere to be; otherwise torch.
    """
    from intraclip.embed.encoders.exported import cache_folder

    folder = cache_folder(run)
    while not folder.exists():
        folder = folder.parent
    exportable = installed("onnx") and installed("onnxscript") and model.frame_head is not None
    if device.type != "cpu" or not exportable or not os.access(folder, os.W_OK):
        return "torch"
    return next((name for name in RUNS[".onnx"] if installed(name)), "torch")
