"""Files of weights made elsewhere: read without running code, compared with the network, and copied into it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from intraclip.errors import CheckpointError

_CLASSIFIER_PREFIXES = ("fc.", "classifier.", "AuxLogits.")


def load_matching(network: nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Load a state dict with torchvision's key names; the classifier's keys are left out.

    What the network says it has anew (`StagedNetwork.anew`) may be missing.

    Raises:
        CheckpointError: keys are missing or unknown, or shapes differ; all of them are listed.
    """
    body = {k: v for k, v in state.items() if not k.startswith(_CLASSIFIER_PREFIXES)}
    own = network.state_dict()
    anew: frozenset[str] = getattr(network, "anew", frozenset())
    missing = [k for k in own if k not in body and k not in anew and not k.endswith("num_batches_tracked")]
    unknown = [k for k in body if k not in own]
    shapes = [
        f"{k}: {tuple(body[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in body and body[k].shape != own[k].shape
    ]
    if missing or unknown or shapes:
        lines = [
            f"  {len(found)} {what}: {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}"
            for what, found in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
            if found
        ]
        raise CheckpointError(f"{source} does not fit the backbone:\n" + "\n".join(lines))
    network.load_state_dict(body, strict=False)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file, or a .pth file without running any pickled code.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something other than tensors by name.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}; give 'imagenet', a file, or nothing")
    try:
        if path.suffix == ".safetensors":
            return without_wrappers(safetensors.torch.load_file(path))
        # Training scripts, torchvision's among them, keep their options beside the weights. A Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a damaged file
        raise CheckpointError(f"{path} cannot be read as weights: {reason(error)}") from None
    for key in ("state_dict", "model"):  # where training scripts, torchvision's among them, keep the weights
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no tensors by name, but {type(state).__name__}")
    return without_wrappers({str(k): v for k, v in state.items()})


def without_wrappers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names that the weights had before the network was compiled or wrapped for parallel training.

    torch.compile puts ``_orig_mod.`` before the names of what it compiles, DataParallel, DDP and averaged models put
    ``module.`` before all of them, in any order and more than once; averaged models add a counter.

    >>> one = torch.ones(1)
    >>> list(without_wrappers({"module._orig_mod.fc.weight": one, "module._orig_mod.body._orig_mod.bias": one}))
    ['fc.weight', 'body.bias']
    """
    found = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    while True:
        named = {name: tensor for name, tensor in found.items() if name != "n_averaged"}
        if not named or not all(name.startswith("module.") for name in named):
            return found
        found = {name.removeprefix("module."): tensor for name, tensor in named.items()}


def reason(error: Exception) -> str:
    """Why a file could not be read, in one sentence: torch's own runs over many lines, with colours of a terminal."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", text):
        return (
            f"it holds {found[1]} beside tensors, which could run code; save the state_dict alone, in Python: "
            'torch.save(model.state_dict(), "weights.pth")'
        )
    if found := re.search(r"WeightsUnpickler error:\s*(.+)", text):
        # the rest of it advises to trust the file
        return f"it is damaged, or holds more than tensors by name ({found[1].strip()})"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
