"""Videos of red boxes that walk, and a network that finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 128
BOX_WIDTH, BOX_HEIGHT = 24, 48

Place = Callable[[int], Sequence[tuple[int, int]]]
"""Frame number -> centres of the red boxes, in pixels; multiples of 8 are found exactly."""


def write_video(
    path: Path,
    centres: Place,
    *,
    frames: int,
    width: int = SIDE,
    height: int = SIDE,
    fps: float = 10,
    codec: str = "MJPG",
) -> Path:
    noise = np.random.default_rng(5).integers(40, 120, size=(height // 8, width // 8), dtype=np.uint8)
    ground = cv2.cvtColor(np.kron(noise, np.ones((8, 8), np.uint8)), cv2.COLOR_GRAY2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        frame = ground.copy()
        for x, y in centres(number):
            frame[y - BOX_HEIGHT // 2 : y + BOX_HEIGHT // 2, x - BOX_WIDTH // 2 : x + BOX_WIDTH // 2] = (
                0,
                0,
                255,
            )
        writer.write(frame)
    writer.release()
    return path


def nobody(_number: int) -> list[tuple[int, int]]:
    return []


def two_walkers(number: int) -> list[tuple[int, int]]:
    """One walks right above in frames 0 to 11, one left below in frames 4 to 15."""
    above = [(16 + 8 * number, 32)] if number < 12 else []
    below = [(104 - 8 * (number - 4), 96)] if 4 <= number < 16 else []
    return above + below


def save(
    graph_nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[np.generic]],
    path: Path,
    *,
    inputs: Sequence[int | str],
    outputs: Sequence[int | str],
) -> Path:
    graph = helper.make_graph(
        graph_nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def red_box_detector(path: Path, *, side: int = SIDE) -> Path:
    """A YOLOX-shaped network with one class that scores 1 where a red box of 24 x 48 is centred on a cell."""
    cells = side // 8
    rest = (side // 16) ** 2 + (side // 32) ** 2
    kernel = np.zeros((1, 3, BOX_HEIGHT, BOX_WIDTH), np.float32)
    kernel[:, :2], kernel[:, 2] = -0.5, 1.0
    kernel /= 255 * BOX_HEIGHT * BOX_WIDTH
    size = np.zeros((1, cells**2, 4), np.float32)
    size[..., 2:] = np.log([BOX_WIDTH / 8, BOX_HEIGHT / 8])
    constants: dict[str, npt.NDArray[np.generic]] = {
        "kernel": kernel,
        "shape": np.array([1, cells**2, 1]),
        "three": np.float32(3).reshape(()),
        "two": np.float32(2).reshape(()),
        "zero": np.float32(0).reshape(()),
        "one": np.float32(1).reshape(()),
        "size": size,
        "class": np.ones((1, cells**2, 1), np.float32),
        "rest": np.zeros((1, rest, 6), np.float32),
    }
    # Padded so that the output at cell (i, j) covers a box centred on pixel (8 j, 8 i).
    pads = [BOX_HEIGHT // 2, BOX_WIDTH // 2, BOX_HEIGHT // 2 - 8, BOX_WIDTH // 2 - 8]
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["red"], strides=[8, 8], pads=pads),
        helper.make_node("Reshape", ["red", "shape"], ["rows"]),
        helper.make_node("Mul", ["rows", "three"], ["steep"]),
        helper.make_node("Sub", ["steep", "two"], ["low"]),
        helper.make_node("Clip", ["low", "zero", "one"], ["objectness"]),
        helper.make_node("Concat", ["size", "objectness", "class"], ["fine"], axis=2),
        helper.make_node("Concat", ["fine", "rest"], ["output"], axis=1),
    ]
    return save(nodes, constants, path, inputs=[1, 3, side, side], outputs=[1, cells**2 + rest, 6])


def constant_network(
    path: Path, *, input_shape: Sequence[int | str], output: npt.NDArray[np.float32]
) -> Path:
    """A network that answers the same whatever it sees."""
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
        helper.make_node("Add", ["answer", "zero"], ["output"]),
    ]
    constants = {"nothing": np.float32(0).reshape(()), "answer": output}
    return save(nodes, constants, path, inputs=input_shape, outputs=output.shape)
