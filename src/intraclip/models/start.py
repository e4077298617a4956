"""Where a training starts from: random weights, a backbone's usual ones, a file, or a network trained before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import torch
from torch import nn

from intraclip.config import USUAL_WEIGHTS, InputConfig, ModelConfig
from intraclip.core.setting_tables import flat
from intraclip.core.settings import table_of
from intraclip.errors import ConfigError
from intraclip.models.backbones.weights import load_backbone_weights
from intraclip.models.checkpoint import FORMAT, Checkpoint, model_file, read_checkpoint, tensors_of
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.state_dicts import without_wrappers
from intraclip.models.zoo import find_weights


def trained_before(weights: str) -> Path | None:
    """The checkpoint that `model.weights` stands for: of a run folder, a checkpoint file, or a name of the zoo.

    Returns:
        None where it is something else: a word, a file of a backbone's weights alone, or nothing that is there.
    """
    if not weights or weights in USUAL_WEIGHTS:
        return None
    path = Path(weights)
    if path.is_dir():
        return model_file(path)
    path = find_weights(weights)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return path if (file.metadata() or {}).get("format") == FORMAT else None
    except (OSError, safetensors.SafetensorError):
        return None  # what is wrong with it is said by who reads its weights


def begin(model: ClipEmbedder, config: ModelConfig, input_config: InputConfig) -> str:
    """Fill a network as `config.weights` says. The classifier always begins anew: other people, other classes.

    Returns:
        What was taken from where, for people; empty for random weights.
    """
    file = trained_before(config.weights)
    if file is not None:
        return _from_checkpoint(model, read_checkpoint(file), config, input_config)
    if config.weights and config.weights not in USUAL_WEIGHTS:
        config = replace(config, weights=str(find_weights(config.weights)))
    source = load_backbone_weights(model.backbone, config)
    return f"the backbone starts from {source}" if source else ""


def _from_checkpoint(
    model: ClipEmbedder, checkpoint: Checkpoint, config: ModelConfig, input_config: InputConfig
) -> str:
    theirs, source = checkpoint.recipe, str(checkpoint.path)
    differing = []
    own, other = (flat({"backbone": table_of(one)["backbone"]}) for one in (config, theirs.model))
    for key, value in own.items():
        if value != other.get(key, value) and key.rpartition(".")[2] not in model.backbone.same_weights:
            differing.append(f"model.{key}: {other[key]} there, {value} here")
    if not model.backbone.normalises:
        differing += [
            f"input.{key}: {list(getattr(theirs.input, key))} there, {list(getattr(input_config, key))} here"
            for key in ("mean", "std")
            if getattr(theirs.input, key) != getattr(input_config, key)
        ]
    if differing:
        raise ConfigError(
            f"model.weights: {source} is another kind of network; set what differs as it is there, or leave out "
            "--recipe to take all of its recipe:\n" + "\n".join(f"  {line}" for line in differing)
        )
    state = without_wrappers(tensors_of(checkpoint.path, "model"))
    body = _below(state, "backbone.")
    size = theirs.input.height, theirs.input.width
    # Networks of timm lie one name deeper than in their usual files.
    model.backbone.load(_below(body, "network.") or body, source=source, size=size)
    taken, anew = ["backbone"], []
    head = _load_head(model.head, _below(state, "head.")) if theirs.model.head == config.head else None
    if head is None:
        anew.append(f"head ({config.head} here, {theirs.model.head} there)")
    else:
        taken.append(f"head ({config.head})")
        anew += [f"{len(head)} tensors of the head, such as {head[0]}"] if head else []
    anew.append("classifier")
    return f"{' and '.join(taken)} start from {source}; new: {', '.join(anew)}"


def _load_head(head: nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Copy what fits; the names of what does not."""
    own = head.state_dict()
    fits = {name for name in own if name in state and state[name].shape == own[name].shape}
    head.load_state_dict({name: state[name] if name in fits else own[name] for name in own})
    return [name for name in own if name not in fits]


def _below(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
