"""`intraclip export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from intraclip.cli.common import (
    ForPrograms,
    ReadsData,
    print_json,
    progress_bar,
    read_data_of_run,
    say,
)
from intraclip.core.settings import bounded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from intraclip.config import Recipe
    from intraclip.export.write import Written
    from intraclip.types import Tracklet


@dataclass(frozen=True, kw_only=True)
class ExportArgs(ReadsData, ForPrograms):
    """Write a trained network as a file that other programs run, and check it against the original.

    The file takes uint8 RGB frames and normalises them itself; batch and clip length are free. Its metadata says what
    it wants. It is written only if it agrees with the original.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, or a checkpoint file."""
    format: Literal["onnx", "openvino", "torch"]
    """ONNX, OpenVINO (.xml, and .bin beside it), or torch.export (.pt2)."""
    out: Path
    """File to write, ending in .onnx, .xml or .pt2."""
    part: Literal["clip", "frame"] = "clip"
    """The whole network (clips and masks to embeddings), or the frame encoder alone (frames to vectors), which embeds
    every frame once."""
    precision: Literal["fp32", "int8"] = "fp32"
    """Precision of the weights; int8 needs --data. It is calibrated on training tracklets, and its loss is measured on
    the test tracklets and written beside the file, as FILE.json."""
    data: Path | None = None
    """Data folder with real frames to check the file with; without one, people are rendered for it."""
    calibration_clips: int = bounded(64, 1)
    """Training clips that int8 is calibrated with."""
    force: bool = False
    """Replace the file if it exists."""


def main(args: ExportArgs) -> int:
    """Run the command."""
    import torch

    from intraclip.core.files import write_json
    from intraclip.errors import ConfigError, DataError, OutputError
    from intraclip.export.compare import check_frames
    from intraclip.export.write import check_request, write_network
    from intraclip.models.checkpoint import load_model, model_file, read_checkpoint

    check_request(args.out, format=args.format, precision=args.precision)
    beside = {"openvino": [args.out.with_suffix(".bin")]}.get(args.format, [])
    if args.precision == "int8":
        beside.append(loss_file(args.out))
    for file in (args.out, *beside):
        if file.exists() and not args.force:
            raise OutputError(f"{file} exists; choose another --out, or add --force to replace it")
    if args.precision == "int8" and args.data is None:
        raise ConfigError(
            "int8 needs --data: training tracklets to calibrate it, test tracklets to measure its loss"
        )
    checkpoint = read_checkpoint(model_file(args.model))
    recipe = checkpoint.recipe
    model = load_model(checkpoint, device=torch.device("cpu"))
    split, clips = None, None
    if args.data is None:
        frames = check_frames(height=recipe.input.height, width=recipe.input.width)
    else:
        split = read_data_of_run(args.data, recipe, layout=args.layout, split=args.split)
        if not split.train:
            raise DataError(f"{args.data} holds no training tracklets to check and calibrate with")
        clips = calibration_clips(split.train, recipe, count=args.calibration_clips)
        frames = clips.reshape(-1, *clips.shape[2:])
    written = write_network(
        model,
        recipe,
        args.out,
        format=args.format,
        part=args.part,
        precision=args.precision,
        frames=frames,
        calibration=clips,
        force=args.force,
    )
    loss: dict[str, Any] | None = None
    if args.precision == "int8" and split is not None:
        from intraclip.embed.encoders.loss import measure_loss

        try:
            with progress_bar("measuring the loss") as update:
                loss = measure_loss(model, recipe, split, written, progress=update)
            write_json(loss_file(args.out), loss)
        except BaseException:  # a file without its loss would only stand in the way of the corrected command
            for file in (args.out, *beside):
                file.unlink(missing_ok=True)
            raise
    if args.json:
        print_json(
            {
                "file": written.path,
                "megabytes": written.megabytes,
                "part": written.description.part,
                "precision": written.description.precision,
                "fingerprint": written.description.fingerprint,
                "cosine": written.agreement.cosine,
                "vectors_compared": written.agreement.vectors,
                "checked_with": written.engine,
                "loss": loss,
            }
        )
    else:
        _tell(written, loss)
    return 0


def calibration_clips(tracklets: Sequence[Tracklet], recipe: Recipe, *, count: int) -> npt.NDArray[np.uint8]:
    """One training clip of each of several tracklets, uint8 ``[K, T, H, W, 3]`` (RGB), drawn from the recipe's seed."""
    import numpy as np

    from intraclip.data.clips import training_clip
    from intraclip.data.frame_loader import FrameLoader

    rng = np.random.default_rng([recipe.seed, 31])
    loader = FrameLoader(recipe.input, skip_unreadable=recipe.data.on_unreadable == "skip")
    clips = []
    for number in rng.permutation(len(tracklets))[:count]:
        tracklet = tracklets[number]
        clips.append(loader.load(tracklet, training_clip(len(tracklet), recipe.clip, rng))[0])
    return np.stack(clips)


def loss_file(out: Path) -> Path:
    """Where the loss of an int8 file is written."""
    return out.with_name(out.name + ".json")


def _tell(written: Written, loss: dict[str, Any] | None) -> None:
    found = written.agreement
    say(
        f"{written.path} ({written.megabytes:.1f} MB): lowest cosine similarity to the original {found.cosine:.7f} "
        f"over {found.vectors} vectors of random and real frames by {written.engine}"
    )
    if loss is None:
        return
    for key, name in (("rank1", "rank-1"), ("mAP", "mAP")):
        before, after, lost = (100 * loss[side][key] for side in ("original", "exported", "loss"))
        print(f"{name:<7} fp32 {before:5.1f}  int8 {after:5.1f}  loss {lost:+.2f}")
    data = loss["data"]
    print(
        f"protocol {loss['protocol']}, {loss['distance']} distance, {data['dataset']}, split {data['split']}, "
        f"run by {loss['engine']}; written beside the file as {loss_file(written.path).name}"
    )
