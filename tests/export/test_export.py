"""Exported networks: the files agree with the network, and wrong ones never appear."""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from intraclip.config import ClipConfig, InputConfig, ModelConfig, Recipe
from intraclip.data.normalise import normalise
from intraclip.errors import CheckpointError, ConfigError, MissingExtraError, OutputError
from intraclip.export.compare import agreement, check_frames, compare
from intraclip.export.description import describe_network, description_of
from intraclip.export.engines import RUNS
from intraclip.export.formats import SUFFIXES, WRITERS
from intraclip.export.graph import FrameGraph, build_graph
from intraclip.export.networks import find_output, open_network
from intraclip.export.reference import make_reference, processor, reference_inputs
from intraclip.export.write import Written, write_network
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.fingerprint import encoder_fingerprint
from intraclip.models.heads.base import Head, HeadOutput

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def recipe(backbone: str = "small", head: str = "ica", **size: int) -> Recipe:
    return Recipe(
        input=InputConfig(**{"height": 64, "width": 32, **size}, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        clip=ClipConfig(num_frames=2),
        model=ModelConfig(backbone=backbone, head=head, weights="", backbone_settings={"width": 0.25}),  # type: ignore[arg-type]
    )


def network(settings: Recipe) -> ClipEmbedder:
    """Random weights, and statistics of batch normalisation that are those of noise, so that no channel is dead."""
    model = build_embedder(settings.model, settings.input, num_classes=3, seed=1)
    generator = torch.Generator().manual_seed(5)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(0.2 * torch.rand(buffer.shape, generator=generator))
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    frames = normalise(noise(16, settings, seed=2), mean=settings.input.mean, std=settings.input.std)
    with torch.no_grad():
        model.train().backbone(frames)
    return model.eval()


def noise(count: int, settings: Recipe, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = (count, 3, settings.input.height, settings.input.width)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def pictures(settings: Recipe, count: int = 4) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return noise(count, settings, seed=9).permute(0, 2, 3, 1).numpy()


class Exported(NamedTuple):
    folder: Path
    models: dict[str, ClipEmbedder]
    recipes: dict[str, Recipe]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A frame part of ResNet18 and a whole small network with ICA and a neck, in every format."""
    folder = tmp_path_factory.mktemp("exported")
    recipes = {"frame": recipe("resnet18", "tap"), "clip": recipe("small", "ica")}
    recipes["clip"] = replace(recipes["clip"], model=replace(recipes["clip"].model, neck="bn"))
    models = {part: network(r) for part, r in recipes.items()}
    for part, model in models.items():
        for kind, suffix in SUFFIXES.items():
            write_network(
                model,
                recipes[part],
                folder / f"{part}{suffix}",
                format=kind,
                part=part,  # type: ignore[arg-type]
                frames=pictures(recipes[part]),
            )
    return Exported(folder, models, recipes)


SIDES = [(suffix, engine) for suffix, engines in RUNS.items() for engine in engines]


@pytest.mark.parametrize(("suffix", "engine"), SIDES)
def test_frames_give_the_same_vectors_in_any_batch(exported: Exported, suffix: str, engine: str):
    opened = open_network(exported.folder / f"frame{suffix}", engine=engine)
    model, settings = exported.models["frame"], exported.recipes["frame"]
    assert opened.inputs[0].shape[0] is None
    for batch in (1, 2, 7):
        frames = noise(batch, settings, seed=batch)
        with torch.inference_mode():
            wanted = model.backbone(normalise(frames, mean=settings.input.mean, std=settings.input.std)).mean(
                (2, 3)
            )
        found = opened.run([frames.numpy()])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(("suffix", "engine"), SIDES)
def test_clips_give_the_same_embeddings_in_any_batch_and_length(exported: Exported, suffix: str, engine: str):
    opened = open_network(exported.folder / f"clip{suffix}", engine=engine)
    model, settings = exported.models["clip"], exported.recipes["clip"]
    for batch in (1, 2, 7):
        for length in (1, 3, 8):
            clips = noise(batch * length, settings, seed=length).unflatten(0, (batch, length))
            mask = (
                torch.arange(length) < torch.arange(1, batch + 1)[:, None]
            )  # some are padded, some are whole
            with torch.inference_mode():
                wanted = model.embed(normalise(clips, mean=settings.input.mean, std=settings.input.std), mask)
            found = opened.run([clips.numpy(), mask.numpy()])
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", SUFFIXES)
@pytest.mark.parametrize("file", [b"mod\xe8les/net", b"models/r\xe9seau"], ids=["folder", "file"])
def test_names_that_are_not_utf8_are_written_and_opened(tmp_path: Path, kind: str, file: bytes):
    """Old archives and disks bring them; ONNX Runtime and OpenVINO take text in UTF-8 alone."""
    settings = recipe()
    suffix = SUFFIXES[kind]  # type: ignore[index]
    out = tmp_path / os.fsdecode(file + suffix.encode())
    write_network(
        network(settings),
        settings,
        out,
        format=kind,
        part="frame",
        frames=pictures(settings),  # type: ignore[arg-type]
    )
    assert {path.name for path in out.parent.iterdir()} <= {out.name, out.with_suffix(".bin").name}
    for engine in RUNS[suffix]:
        assert open_network(out, engine=engine).run([noise(2, settings).numpy()]).shape[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet50", "inception_v3", "alexnet"])
def test_every_backbone_can_be_exported(tmp_path: Path, backbone: str):
    settings = recipe(backbone, "ica", height=160, width=96)
    model = network(settings)
    for part in ("frame", "clip"):
        for kind, suffix in SUFFIXES.items():
            path = tmp_path / f"{part}{suffix}"
            write_network(model, settings, path, format=kind, part=part, frames=pictures(settings))  # type: ignore[arg-type]
            graph = build_graph(model, settings.input, part)  # type: ignore[arg-type]
            for engine in RUNS[suffix]:
                found = compare(graph, open_network(path, engine=engine), pictures(settings), seed=3)
                assert found.cosine > 0.999999
                assert found.difference < 1e-3
            path.unlink()


@pytest.mark.parametrize("suffix", list(RUNS))
def test_the_file_says_what_it_wants(exported: Exported, suffix: str):
    for engine in RUNS[suffix]:
        opened = open_network(exported.folder / f"frame{suffix}", engine=engine)
        found = description_of(opened.metadata, source="file")
        assert found is not None
        assert (found.height, found.width, found.layout, found.channel_order) == (64, 32, "NCHW", "RGB")
        assert (found.mean, found.std, found.size) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 128)
        assert found.fingerprint == encoder_fingerprint(exported.models["frame"])
        assert found.recipe["model"]["backbone"]["name"] == "resnet18"


def test_any_program_can_read_the_metadata(exported: Exported):
    found = {p.key: p.value for p in onnx.load(exported.folder / "clip.onnx").metadata_props}
    assert json.loads(found["intraclip.part"]) == "clip"
    assert json.loads(found["intraclip.value_range"]) == "0..255 uint8"


def test_metadata_of_another_version_or_damaged_is_refused(exported: Exported):
    metadata = dict(open_network(exported.folder / "frame.onnx").metadata)
    assert description_of({"author": "someone"}, source="x") is None
    with pytest.raises(CheckpointError, match="x has export format 9, this version of intraclip reads 1"):
        description_of({**metadata, "intraclip.format_version": "9"}, source="x")
    del metadata["intraclip.mean"]
    with pytest.raises(CheckpointError, match="x has damaged metadata"):
        description_of(metadata, source="x")


class Order(Head):
    """Reads the order of frames, which one mean vector does not hold."""

    embedding_size = 32

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> HeadOutput:
        weights = mask / torch.arange(1, mask.shape[1] + 1)
        z = (maps.mean((3, 4)) * weights[..., None]).sum(1)
        return HeadOutput(z, z)


def test_a_head_that_reads_maps_is_exported_whole_only(tmp_path: Path):
    settings = recipe()
    model = network(settings)
    model.head = Order()
    arguments: dict[str, Any] = {"format": "torch", "frames": pictures(settings)}
    with pytest.raises(ConfigError, match=r"reads whole feature maps.*--part clip"):
        write_network(model, settings, tmp_path / "a.pt2", part="frame", **arguments)
    assert write_network(model, settings, tmp_path / "a.pt2", part="clip", **arguments).path.is_file()


@pytest.mark.parametrize("damage", ["other weights", "wrong in batches", "not finite"])
def test_a_file_that_disagrees_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str):
    settings = recipe()

    class Wrong(FrameGraph):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            vectors = super().forward(frames)
            if damage == "other weights":
                return vectors + 0.1 * vectors.flip(1)
            if damage == "wrong in batches":
                return vectors.mean(0, keepdim=True) + 0 * vectors
            return vectors / (vectors - vectors)

    def write_wrong(graph: Any, *rest: Any) -> None:
        right(Wrong(network(settings), settings.input).eval(), *rest)

    right = WRITERS["torch"]
    monkeypatch.setitem(WRITERS, "torch", write_wrong)
    reason = "not finite" if damage == "not finite" else r"disagrees with the original, cosine similarity 0\."
    with pytest.raises(OutputError, match=reason):
        write_network(
            network(settings),
            settings,
            tmp_path / "a.pt2",
            format="torch",
            part="frame",
            frames=pictures(settings),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_does_not_fit_is_refused(tmp_path: Path):
    settings = recipe()
    model, frames = network(settings), pictures(settings)
    with pytest.raises(ConfigError, match=r"--format onnx writes \.onnx"):
        write_network(model, settings, tmp_path / "a.xml", format="onnx", frames=frames)
    with pytest.raises(ConfigError, match="--format torch holds fp32"):
        write_network(model, settings, tmp_path / "a.pt2", format="torch", precision="int8", frames=frames)
    with pytest.raises(ConfigError, match="int8 needs calibration clips"):
        write_network(model, settings, tmp_path / "a.onnx", format="onnx", precision="int8", frames=frames)


class Int8(NamedTuple):
    openvino: Written
    onnx: Written
    pictures: np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Int8:
    """A frame part for OpenVINO and a whole network for ONNX Runtime, each in a folder of its own."""
    settings = recipe()
    clips = noise(8, settings, seed=4).permute(0, 2, 3, 1).unflatten(0, (4, 2)).numpy()
    written = [
        write_network(
            network(settings),
            settings,
            tmp_path_factory.mktemp(kind) / f"a{SUFFIXES[kind]}",
            format=kind,
            part=part,
            precision="int8",
            frames=clips.reshape(-1, *clips.shape[2:]),
            calibration=clips,
        )
        for kind, part in (("openvino", "frame"), ("onnx", "clip"))  # type: ignore[misc]
    ]
    return Int8(*written, noise(8, settings, seed=6).numpy())


def test_int8_for_openvino_stays_close(int8: Int8):
    written = int8.openvino
    assert written.agreement.cosine > 0.99
    assert written.agreement.difference > 1e-4  # else nothing would be in int8
    assert written.description.precision == "int8"
    assert written.description.fingerprint != encoder_fingerprint(network(recipe()))
    assert sorted(file.name for file in written.path.parent.iterdir()) == ["a.bin", "a.xml"]


def test_int8_for_onnx_runtime_stays_close_and_keeps_the_head_in_fp32(int8: Int8):
    assert int8.onnx.agreement.cosine > 0.99
    saved = onnx.load(int8.onnx.path)
    made_by = {output: node.op_type for node in saved.graph.node for output in node.output}
    before = {
        kind: {made_by.get(node.input[0], "") for node in saved.graph.node if node.op_type == kind}
        for kind in ("Conv", "Gemm", "MatMul")
    }
    assert before["Conv"] == {"DequantizeLinear"}
    assert before["Gemm"] | before["MatMul"]
    assert "DequantizeLinear" not in before["Gemm"] | before["MatMul"]


def test_a_sum_of_two_int8_products_fits_16_bits(int8: Int8):
    """Processors without VNNI add activations of 0..255 times weights so, two by two, and saturate."""
    import openvino

    constants = [
        array
        for array in map(onnx.numpy_helper.to_array, onnx.load(int8.onnx.path).graph.initializer)
        if array.ndim == 4
    ]
    read = openvino.Core().read_model(int8.openvino.path)
    constants += [
        node.data
        for node in read.get_ordered_ops()
        if node.get_type_name() == "Constant" and node.data.ndim == 4 and node.data.dtype == np.int8
    ]
    assert {array.dtype for array in constants} == {np.dtype(np.int8)}
    largest = [int(np.abs(array.astype(int)).max()) for array in constants]
    assert min(largest) > 60  # no bit more is given away
    assert 2 * 255 * max(largest) < 2**15


# Neither intraclip nor torch: they are slow to load.
ELSEWHERE = """
import sys
import numpy as np
engine, path, folder = sys.argv[1:]
frames = np.load(folder + "/frames.npy")
if engine == "openvino":
    import openvino
    core = openvino.Core()
    found = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([frames])[0]
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"frames": frames[None], "mask": np.ones((1, len(frames)), dtype=bool)})[0]
np.save(folder + "/found.npy", found)
"""


def run_elsewhere(
    engine: str, written: Written, frames: Any, folder: Path, *before: str, **environment: str
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a file gives in a process of its own, with other switches or on an emulated processor."""
    np.save(folder / "frames.npy", frames)
    subprocess.run(
        [*before, sys.executable, "-c", ELSEWHERE, engine, str(written.path), str(folder)],
        check=True,
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL if before else None,  # the emulator names every instruction that it lacks
    )
    found: np.ndarray[Any, np.dtype[np.float32]] = np.load(folder / "found.npy")
    return found


def test_int8_gives_the_same_vectors_without_vnni(int8: Int8, tmp_path: Path):
    here = open_network(int8.openvino.path).run([int8.pictures])
    there = run_elsewhere("openvino", int8.openvino, int8.pictures, tmp_path, ONEDNN_MAX_CPU_ISA="AVX2")
    assert agreement(here, there).cosine > 0.9999


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None or platform.machine() != "x86_64", reason="needs qemu-user, on x86-64"
)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_int8_gives_the_same_vectors_on_an_emulated_processor(int8: Int8, tmp_path: Path, engine: str):
    frames = int8.pictures
    written = int8.openvino if engine == "openvino" else int8.onnx
    inputs = [frames] if engine == "openvino" else [frames[None], np.ones((1, len(frames)), dtype=np.bool_)]
    there = run_elsewhere(engine, written, frames, tmp_path, "qemu-x86_64", "-cpu", "EPYC-v1")
    assert agreement(open_network(written.path).run(inputs), there).cosine > 0.9999


def test_the_file_says_what_it_was_made_for_and_where(exported: Exported, int8: Int8):
    made_for = {
        path: description_of(open_network(path).metadata, source="file")
        for path in (
            exported.folder / "clip.onnx",
            exported.folder / "frame.pt2",
            int8.openvino.path,
            int8.onnx.path,
        )
    }
    assert [(found.engines, found.weight_bits) for found in made_for.values() if found] == [
        (("onnxruntime", "openvino"), 32),
        (("torch",), 32),
        (("openvino",), 7),
        (("onnxruntime",), 7),
    ]
    assert all(
        found and found.reference and found.reference["processor"] == processor()
        for found in made_for.values()
    )


def rewritten(source: Path, out: Path, **changes: Any) -> Path:
    """A copy of an ONNX file with other metadata; None takes a key out."""
    model = onnx.load(source)
    kept = {p.key: p.value for p in model.metadata_props}
    kept |= {f"intraclip.{key}": json.dumps(value) for key, value in changes.items() if value is not None}
    for key in (key for key, value in changes.items() if value is None):
        del kept[f"intraclip.{key}"]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, out)
    return out


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_that_answers_otherwise_than_where_it_was_written_is_refused(
    exported: Exported, tmp_path: Path, engine: str
):
    source = exported.folder / "frame.onnx"
    told = description_of(open_network(source).metadata, source="file")
    assert told is not None
    assert told.reference is not None
    answer = np.frombuffer(base64.b64decode(told.reference["vectors"]), "<f4")
    other = answer + 0.1 * answer.std() * np.random.default_rng(1).standard_normal(answer.shape)
    reference = dict(told.reference) | make_reference(other.astype(np.float32), "fp32")
    changed = rewritten(source, tmp_path / "a.onnx", reference=reference | {"processor": "sparc64 DEFAULT"})
    with pytest.raises(
        CheckpointError,
        match=r"a\.onnx: engine \w+ computes something else here \(.+\) than where the file was written "
        r"\(sparc64 DEFAULT\): cosine similarity 0\.\d+ .*, at least 0\.9999 is asked for; try another --engine",
    ):
        open_network(changed, engine=engine)


@pytest.mark.parametrize(
    "reference", [{}, {"vectors": "%"}, {"vectors": "AAAA", "lowest_cosine": 0.9, "processor": ""}, 5]
)
def test_a_damaged_reference_is_refused(exported: Exported, tmp_path: Path, reference: Any):
    path = rewritten(exported.folder / "frame.onnx", tmp_path / "a.onnx", reference=reference)
    with pytest.raises(CheckpointError, match=r"a\.onnx has damaged metadata: reference"):
        open_network(path)


def test_files_of_earlier_versions_open(exported: Exported, tmp_path: Path):
    path = rewritten(
        exported.folder / "frame.onnx", tmp_path / "a.onnx", reference=None, engines=None, weight_bits=None
    )
    found = description_of(open_network(path).metadata, source="file")
    assert found is not None
    assert (found.reference, found.engines, found.weight_bits) == (None, (), 0)


def test_the_reference_shows_nobody_and_is_one_picture_after_the_other():
    told = describe_network(network(recipe()), recipe(), part="frame", precision="fp32", fingerprint="")
    (frames,) = reference_inputs(told)
    assert (frames.shape, frames.dtype) == ((2, 3, 64, 32), np.uint8)
    assert frames[0, 0, :4:3, :8:4].tolist() == [[158, 60], [158, 60]]
    assert len(np.unique(frames)) > 200


def test_files_that_are_no_networks_are_refused(tmp_path: Path):
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "text.xml").write_text("<net>")
    (tmp_path / "text.bin").write_text("hello")
    (tmp_path / "text.pt2").write_text("hello")
    (tmp_path / "alone.xml").write_text("<net>")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(CheckpointError, match="there is no network"):
        open_network(tmp_path / "none.onnx")
    with pytest.raises(CheckpointError, match="is an empty file"):
        open_network(tmp_path / "empty.onnx")
    for suffix, engine in SIDES:
        with pytest.raises(CheckpointError, match=rf"text\{suffix} \(5 bytes\) cannot be run as"):
            open_network(tmp_path / f"text{suffix}", engine=engine)
    with pytest.raises(CheckpointError, match=r"its weights, alone\.bin, are not beside it"):
        open_network(tmp_path / "alone.xml")
    with pytest.raises(ConfigError, match=r"\.pth is not one of \.onnx, \.xml, \.pt2"):
        open_network(tmp_path / "weights.pth")
    with pytest.raises(
        ConfigError, match=r"engine torch cannot run \.onnx files; use onnxruntime or openvino"
    ):
        open_network(tmp_path / "text.onnx", engine="torch")


@pytest.mark.parametrize(
    ("engine", "extra"), [("onnxruntime", "export"), ("openvino", "openvino")], ids=lambda x: str(x)
)
def test_an_engine_that_is_not_installed_names_the_command(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, engine: str, extra: str
):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(MissingExtraError, match=rf"run: pip install 'intraclip\[{extra}\]'"):
        open_network(exported.folder / "frame.onnx", engine=engine)


def test_an_output_is_found_by_name(exported: Exported):
    opened = open_network(exported.folder / "frame.onnx")
    assert find_output(opened) == find_output(opened, "features") == 0
    with pytest.raises(
        ConfigError, match=r"no output 'feature' \(did you mean 'features'\?\); it has features float32"
    ):
        find_output(opened, "feature")


def test_agreement_is_of_the_worst_vector():
    a = np.array([[1, 0], [1, 0], [0, 0]], np.float32)
    assert agreement(a, a).cosine == 1
    found = agreement(a, np.array([[1, 0], [0, 1], [0, 0]], np.float32))
    assert (found.cosine, found.difference) == (0, 1)
    assert agreement(a, np.array([[1, 0], [1, 0], [0, 1]], np.float32)).cosine == 0  # zero against not zero
    assert np.isnan(agreement(a, a * np.nan).cosine)
    assert np.isnan(agreement(a, a[:, :1]).cosine)


def test_frames_for_checks_are_no_blank_pictures_and_all_different():
    frames = check_frames(height=64, width=32, count=4)
    assert frames.shape == (4, 64, 32, 3)
    assert frames.std(axis=(1, 2)).min() > 5  # no blank picture
    assert len({frame.tobytes() for frame in frames}) == 4


def test_writing_leaves_the_network_and_the_random_state_alone(tmp_path: Path):
    settings = recipe()
    model = network(settings)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.random.get_rng_state()
    write_network(model, settings, tmp_path / "a.pt2", format="torch", frames=pictures(settings))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
