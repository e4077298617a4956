"""Digests of tensors with settings: whether two networks, or two files of weights, are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch


def digest(settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over settings, and over name, dtype, shape and bytes of every tensor in the order of their names.

    The order of the keys, device and memory layout do not matter.

    >>> a = digest({"size": 4}, {"w": torch.ones(2)})
    >>> a == digest({"size": 4}, {"w": torch.ones(2)}), a == digest({"size": 4}, {"w": torch.ones(1, 2)})
    (True, False)
    """
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
