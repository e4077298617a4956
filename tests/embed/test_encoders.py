"""Frame encoders: runs on every engine, exported files, and other people's networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.embed.encoders import open_encoder
from intraclip.embed.encoders.foreign import load_network_config, prepare
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.errors import CheckpointError, ConfigError, DeviceError, IntraclipError, MissingExtraError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.saving import save_checkpoint
from real_data import real_data

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

RECIPE = Recipe(
    device="cpu",
    input=InputConfig(height=32, width=16),
    model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5}),
)


def write_run(run: Path, *, seed: int = 0, name: str = "model.safetensors") -> Path:
    model = build_embedder(RECIPE.model, RECIPE.input, num_classes=2, seed=seed)
    save_checkpoint(run / name, model, recipe=RECIPE, pids=[1, 2], epoch=1, step=1)
    return run


def noise(count: int, *, height: int = 32, width: int = 16) -> torch.Tensor:
    """Uint8 frames ``[N, 3, H, W]`` in channels-last memory, as they travel here."""
    generator = torch.Generator().manual_seed(count)
    frames = torch.randint(0, 256, (count, height, width, 3), generator=generator, dtype=torch.uint8)
    return frames.permute(0, 3, 1, 2)


# -- runs ----------------------------------------------------------------------------------------------------


def test_a_run_gives_the_same_vectors_on_every_engine(tmp_path: Path):
    run = write_run(tmp_path)
    torch_encoder = open_encoder(run, engine="torch")
    for engine in ("onnxruntime", "openvino", "auto"):
        encoder = open_encoder(run, engine=engine)
        assert encoder.fingerprint == torch_encoder.fingerprint
        assert (encoder.height, encoder.width, encoder.num_features) == (32, 16, 64)
        for count in (0, 1, 40):
            found, wanted = encoder.encode(noise(count)), torch_encoder.encode(noise(count))
            assert found.shape == (count, 64)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["small", "resnet18", "timm:resnet10t"])
def test_folding_batch_normalisation_changes_no_more_than_the_last_digits(backbone: str):
    if backbone.startswith("timm"):
        pytest.importorskip("timm")
    config = ModelConfig(backbone=backbone, head="ica", weights="")
    model = build_embedder(config, RECIPE.input, num_classes=2, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for statistic in (module.running_mean, module.running_var, module.weight, module.bias):
                assert statistic is not None
                statistic.data.uniform_(0.5, 1.5, generator=generator)
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = TorchEncoder(model)
    left = [m for m in encoder.model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(left) < sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules()) or "timm" in backbone
    found = encoder.encode(noise(9))
    with torch.no_grad():
        wanted = model.frame_vectors((noise(9) / 255 - 0.5) / 0.5)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("height", "width", "pieces"), [(256, 128, [16, 16, 8]), (64, 32, [40])])
def test_a_cpu_gets_frames_in_blocks_of_sixteen(
    height: int, width: int, pieces: list[int], monkeypatch: pytest.MonkeyPatch
):
    size = InputConfig(height=height, width=width)
    model = build_embedder(ModelConfig(backbone="small", weights=""), size, num_classes=2, seed=0).eval()
    seen: list[int] = []

    def noted(_self: ClipEmbedder, frames: torch.Tensor) -> torch.Tensor:
        seen.append(len(frames))
        return torch.zeros(len(frames), model.vector_size)

    monkeypatch.setattr(ClipEmbedder, "frame_vectors", noted)
    TorchEncoder(model).encode(torch.zeros(40, 3, height, width, dtype=torch.uint8))
    assert seen == pieces


def test_the_exported_file_is_kept_and_follows_the_weights(tmp_path: Path):
    run = write_run(tmp_path)
    first = open_encoder(run, engine="onnxruntime")
    (kept,) = (run / "exported").iterdir()
    made = kept.stat().st_mtime_ns
    open_encoder(run, engine="openvino")
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(kept.read_bytes()[:200])  # a damaged file is made again
    assert torch.equal(open_encoder(run, engine="onnxruntime").encode(noise(3)), first.encode(noise(3)))
    write_run(run, seed=1)
    second = open_encoder(run, engine="onnxruntime")
    torch.testing.assert_close(
        second.encode(noise(3)), open_encoder(run, engine="torch").encode(noise(3)), rtol=1e-4, atol=1e-5
    )
    assert second.fingerprint != first.fingerprint
    assert len(list((run / "exported").iterdir())) == 2


def test_a_checkpoint_inside_a_run_is_exported_into_the_run(tmp_path: Path):
    write_run(tmp_path, name="checkpoints/step-00000001.safetensors")
    open_encoder(tmp_path / "checkpoints" / "step-00000001.safetensors", engine="onnxruntime")
    assert [file.suffix for file in (tmp_path / "exported").iterdir()] == [".onnx"]


def test_auto_takes_torch_where_nothing_else_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("intraclip.embed.encoders.installed", lambda engine: False)
    assert open_encoder(write_run(tmp_path)).name == "small (torch)"
    assert not (tmp_path / "exported").exists()


def test_wrong_engines_and_sources_are_refused(tmp_path: Path):
    run = write_run(tmp_path)
    with pytest.raises(
        ConfigError, match="engine 'tensorrt' is not one of auto, torch, onnxruntime, openvino"
    ):
        open_encoder(run, engine="tensorrt")
    with pytest.raises(DeviceError, match="engine openvino runs on the CPU, not on cuda"):
        open_encoder(run, engine="openvino", device="cuda")
    with pytest.raises(CheckpointError, match="holds no trained model"):
        open_encoder(tmp_path / "nowhere")


def test_an_exported_file_is_an_encoder_if_it_holds_the_frame_part(tmp_path: Path):
    from intraclip.export.write import write_network

    model = build_embedder(RECIPE.model, RECIPE.input, num_classes=2, seed=0).eval()
    frames = noise(2).permute(0, 2, 3, 1).numpy()
    for part in ("frame", "clip"):
        write_network(model, RECIPE, tmp_path / f"{part}.pt2", format="torch", part=part, frames=frames)  # type: ignore[arg-type]
    wanted = open_encoder(write_run(tmp_path), engine="torch")
    encoder = open_encoder(tmp_path / "frame.pt2")
    torch.testing.assert_close(encoder.encode(noise(20)), wanted.encode(noise(20)), rtol=1e-4, atol=1e-5)
    assert encoder.fingerprint == wanted.fingerprint
    with pytest.raises(ConfigError, match=r"holds a whole network.*--part frame"):
        open_encoder(tmp_path / "clip.pt2")


# -- other people's networks: ONNX files made by hand --------------------------------------------------------


def write_onnx(
    path: Path,
    *,
    shape: tuple[Any, ...] = ("n", 3, 32, 16),
    make: str = "pooled",
    dtype: str = "FLOAT",
) -> Path:
    """A network whose vector is the mean of each channel, times (1, 10, 100), so that order and range show."""
    helper, kind = onnx.helper, getattr(onnx.TensorProto, dtype)
    floats = onnx.TensorProto.FLOAT
    channels = shape.index(3, 1) if 3 in shape[1:] else 1
    axes = [axis for axis in (1, 2, 3) if axis != channels]
    factor = [1.0] * 4
    scale_shape = [1, 3, 1, 1] if channels == 1 else [1, 1, 1, 3]
    constants = [
        helper.make_tensor("factor", floats, scale_shape, [1.0, 10.0, 100.0][: int(np.prod(scale_shape))]),
        helper.make_tensor("axes", onnx.TensorProto.INT64, [2], axes),
        helper.make_tensor("rows", onnx.TensorProto.INT64, [1], [0]),
        helper.make_tensor("nan", floats, [1], [float("nan")]),
        helper.make_tensor("one", onnx.TensorProto.INT64, [2], [1, -1]),
    ]
    del factor
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=floats),
        helper.make_node("Mul", ["pixels", "factor"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "axes"], ["pooled"], keepdims=0),
    ]
    if make == "nan":
        nodes.append(helper.make_node("Mul", ["pooled", "nan"], ["broken"]))
    if make == "mixed":  # mixes the frames of a batch, as a batch normalisation left in training mode does
        nodes.append(helper.make_node("ReduceMean", ["pooled", "rows"], ["shared"]))
        nodes.append(helper.make_node("Add", ["pooled", "shared"], ["summed"]))
        nodes.append(helper.make_node("Sub", ["summed", "shared"], ["alone"]))
        nodes.append(helper.make_node("Sub", ["alone", "shared"], ["mixed"]))
    if make == "flat":  # for one frame only: a batch becomes one long row
        nodes.append(helper.make_node("Reshape", ["pooled", "one"], ["flat"]))
    outputs = {
        "pooled": ["pooled"],
        "maps": ["maps"],
        "several": ["maps", "pooled"],
        "nan": ["broken"],
        "mixed": ["mixed"],
        "flat": ["flat"],
    }[make]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("frames", kind, shape)],
        [helper.make_tensor_value_info(name, floats, None) for name in outputs],
        [c for c in constants if c.name in used],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


Describe = Callable[..., Path]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    def write(**values: object) -> Path:
        settings: dict[str, object] = {
            "network": "net.onnx",
            "height": 32,
            "width": 16,
            "channel_order": "RGB",
            "value_range": "0..255",
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            **values,
        }
        lines = [
            f"{key} = {value!r}".replace("'", '"') for key, value in settings.items() if value is not None
        ]
        path = tmp_path / "net.toml"
        path.write_text("\n".join(lines))
        return path

    return write


def channel_means(frames: torch.Tensor) -> torch.Tensor:
    return frames.float().mean(dim=(2, 3))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "auto"])
def test_frames_are_prepared_as_the_file_says(tmp_path: Path, describe: Describe, engine: str):
    write_onnx(tmp_path / "net.onnx")
    frames = noise(21)
    colours = channel_means(frames)
    plain = open_encoder(describe(), engine=engine)
    factor = torch.tensor([1.0, 10.0, 100.0])
    torch.testing.assert_close(plain.encode(frames), colours * factor)
    bgr = open_encoder(
        describe(channel_order="BGR", mean=[1.0, 2.0, 3.0], std=[2.0, 4.0, 8.0]), engine=engine
    )
    wanted = (colours.flip(1) - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 4.0, 8.0]) * factor
    torch.testing.assert_close(bgr.encode(frames), wanted)
    unit = open_encoder(
        describe(value_range="0..1", mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]), engine=engine
    )
    torch.testing.assert_close(unit.encode(frames), (colours / 127.5 - 1) * factor, rtol=1e-4, atol=1e-4)
    assert len({plain.fingerprint, bgr.fingerprint, unit.fingerprint}) == 3
    assert plain.encode(frames[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("network", "values"),
    [
        ({"shape": (4, 3, 32, 16)}, {}),
        ({"shape": (1, 3, 32, 16), "make": "flat"}, {}),
        ({"make": "flat"}, {"batch": 1}),
        ({"shape": ("n", 3, "h", "w")}, {}),
        ({"shape": ("n", 32, 16, 3)}, {"layout": "NHWC"}),
        ({"make": "maps"}, {"pool": "mean"}),
        ({"make": "several"}, {"output": "pooled"}),
        ({"dtype": "UINT8"}, {}),
        ({"dtype": "FLOAT16"}, {}),
    ],
    ids=[
        "batch of 4",
        "batch of 1",
        "one by one",
        "free size",
        "NHWC",
        "maps",
        "two outputs",
        "bytes",
        "half",
    ],
)
def test_networks_of_many_shapes_can_be_used(
    tmp_path: Path, describe: Describe, network: dict[str, Any], values: dict[str, Any]
):
    write_onnx(tmp_path / "net.onnx", **network)
    frames = noise(7)
    found = open_encoder(describe(**values)).encode(frames)
    torch.testing.assert_close(found, channel_means(frames) * torch.tensor([1.0, 10.0, 100.0]))


@pytest.mark.parametrize(
    ("network", "values", "message"),
    [
        ({"shape": ("n", 1, 32, 16)}, {}, r"frames float32 \[\?, 1, 32, 16\] .* C is 1, not 3"),
        ({"shape": ("n", 3, 64, 16)}, {}, "H is 64, not 32"),
        ({"shape": ("n", 32, 16, 3)}, {}, 'layout = "NHWC" would fit'),
        ({"shape": (4, 3, 32, 16)}, {"batch": 2}, "takes 4 frames at a time, not batch = 2"),
        ({"make": "several"}, {}, r"has 2 outputs \(.*\); name one as output"),
        ({"make": "several"}, {"output": "poled"}, r"no output 'poled' \(did you mean 'pooled'\?\)"),
        ({"make": "maps"}, {}, 'maps .* set pool = "mean"'),
        ({"make": "nan"}, {}, "answers NaN or infinity"),
        ({"make": "mixed"}, {}, "other vectors in a batch than one by one .* set batch = 1"),
        ({"make": "flat"}, {}, r"three frames give \[1, 9\].* set batch = 1"),
        ({"dtype": "UINT8"}, {"mean": [1.0, 1.0, 1.0]}, "takes bytes, so it normalises by itself"),
        ({"shape": (2**40, 3, 32, 16)}, {}, "bad_alloc|wants 1099511627776 frames at a time, at most 4096"),
        ({}, {"height": 2**40}, r"height: 1099511627776 must lie in 1\.\.4096"),
        ({"dtype": "INT32"}, {}, "float32, float16 or uint8 is wanted"),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    tmp_path: Path, describe: Describe, network: dict[str, Any], values: dict[str, Any], message: str
):
    write_onnx(tmp_path / "net.onnx", **network)
    with pytest.raises(IntraclipError, match=message):
        open_encoder(describe(**values))


def test_a_file_without_description_is_not_guessed(tmp_path: Path):
    with pytest.raises(CheckpointError, match="describe it in a small TOML file"):
        open_encoder(write_onnx(tmp_path / "net.onnx"))


def test_all_problems_of_a_description_are_listed_at_once(tmp_path: Path, describe: Describe):
    path = describe(hight=32, height=None, channel_order="RBG", std=[1.0, 0.0, 1.0], mean=[104.0, 1.0, 1.0],
                    value_range="0..1", network="weights.pth", weights="random", batch=-1)  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        load_network_config(path)
    text = str(caught.value)
    for line in (
        "hight: unknown key (did you mean 'height'?)",
        "height: is missing",
        "channel_order: 'RBG' is not one of RGB, BGR (did you mean 'RGB'?)",
        "std: (1.0, 0.0, 1.0) must be above 0",
        "mean: [104.0, 1.0, 1.0] does not belong to the value range 0..1",
        "network: 'weights.pth' is no .onnx file",
        "weights: is for timm and open_clip only",
        "batch: -1 is too small",
    ):
        assert line in text
    assert text.startswith("8 problems in ")


def test_a_description_that_cannot_be_read_is_refused(tmp_path: Path, describe: Describe):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_network_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("network = ")
    with pytest.raises(ConfigError, match="is no valid TOML"):
        load_network_config(tmp_path / "bad.toml")
    with pytest.raises(CheckpointError, match=r"there is no network .*net\.onnx"):
        open_encoder(describe())


def test_preparation_is_exact():
    frames = torch.arange(256, dtype=torch.uint8).repeat(3, 1)[None, :, None, :]
    config = load_like(value_range="0..1", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    found = prepare(frames, config)
    torch.testing.assert_close(found[0, 0, 0], torch.linspace(-1, 1, 256), rtol=0, atol=1e-6)


def load_like(**values: Any) -> Any:
    from intraclip.embed.encoders.foreign import NetworkConfig

    return NetworkConfig(network="n.onnx", height=1, width=256, **values)


# -- model families ------------------------------------------------------------------------------------------


def family(describe: Describe, network: str, **values: object) -> Path:
    return describe(network=network, value_range="0..1", height=64, width=32, **values)


def test_a_timm_model_is_an_encoder(tmp_path: Path, describe: Describe):
    timm = pytest.importorskip("timm")
    encoder = open_encoder(family(describe, "timm:resnet10t", weights="random"))
    found = encoder.encode(noise(20, height=64, width=32))
    assert found.shape == (20, encoder.num_features) == (20, 512)
    assert torch.isfinite(found).all()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = timm.create_model("resnet10t", num_classes=10)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded = open_encoder(family(describe, "timm:resnet10t", weights="weights.pth"))
    frames = noise(3, height=64, width=32)
    with torch.inference_mode():
        wanted = model.eval().forward_head(model.forward_features(frames.float() / 255), pre_logits=True)
    torch.testing.assert_close(loaded.encode(frames), wanted, rtol=1e-3, atol=1e-4)
    assert loaded.fingerprint != encoder.fingerprint


def test_wrong_timm_models_are_refused(tmp_path: Path, describe: Describe):
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet10x' \(did you mean 'resnet10t'\?\)"):
        open_encoder(family(describe, "timm:resnet10x", weights="random"))
    with pytest.raises(ConfigError, match="weights: is missing; a file, 'pretrained' or 'random'"):
        open_encoder(family(describe, "timm:resnet10t"))
    with pytest.raises(ConfigError, match="runs on engine torch, not on onnxruntime"):
        open_encoder(family(describe, "timm:resnet10t", weights="random"), engine="onnxruntime")
    torch.save({"x": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"as timm:resnet10t, does not fit the backbone:\s+\d+ missing"):
        open_encoder(family(describe, "timm:resnet10t", weights="weights.pth"))


def test_a_family_that_is_not_installed_names_the_command(
    describe: Describe, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"run: pip install 'intraclip\[timm\]'"):
        open_encoder(family(describe, "timm:resnet10t", weights="random"))


@pytest.mark.slow  # importing open_clip alone takes seconds
@pytest.mark.filterwarnings("ignore")
def test_an_open_clip_model_is_an_encoder(describe: Describe):
    pytest.importorskip("open_clip")
    for network, width in (("open_clip:RN50", 64), ("open_clip:ViT-B-32", 32)):
        encoder = open_encoder(
            describe(network=network, value_range="0..1", height=64, width=width, weights="random")
        )
        found = encoder.encode(noise(2, height=64, width=width))
        assert found.shape == (2, encoder.num_features)
    with pytest.raises(ConfigError, match="open_clip has no model"):
        open_encoder(family(describe, "open_clip:RN5", weights="random"))


# -- real networks -------------------------------------------------------------------------------------------

OPEN_MODEL_ZOO = """
network = "person-reidentification-retail-0287.xml"
description = "Open Model Zoo's image re-ID network, 256 features (Apache-2.0)"
height = 256
width = 128
channel_order = "BGR"
value_range = "0..255"
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
"""


@pytest.mark.real_data
def test_the_open_model_zoo_network_is_an_encoder(tmp_path: Path):
    folder = real_data("models/reid")
    for file in folder.glob("person-reidentification-retail-0287.*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "omz.toml").write_text(OPEN_MODEL_ZOO)
    encoder = open_encoder(tmp_path / "omz.toml")
    found = encoder.encode(noise(3, height=256, width=128))
    assert found.shape == (3, 256)
    assert torch.isfinite(found).all()
    with pytest.raises(ConfigError, match=r"engine onnxruntime cannot run \.xml files; use openvino"):
        open_encoder(tmp_path / "omz.toml", engine="onnxruntime")
