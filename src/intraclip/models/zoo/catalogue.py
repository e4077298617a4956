"""The entries of the zoo. A score is here only with its source, a digest only where the file was seen."""

from __future__ import annotations

from functools import cache

from intraclip.models.zoo.entry import Entry, File, Score

_OMZ = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1"
_CARD = "Open Model Zoo's model card"
_BGR = {
    "height": 256,
    "width": 128,
    "channel_order": "BGR",
    "value_range": "0..255",
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
}
_IMAGENET = {
    "height": 256,
    "width": 128,
    "channel_order": "RGB",
    "value_range": "0..1",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
_SEEN_0287 = {
    "xml": "09af746c1068a3e89355e1f0226d3d6982dc1cd77634b1f70a40f1f654a94be1",
    "bin": "7f53d18d11253455e0e11646b2176cf6509cc7c97cb5376f9b91b4c41e09a06c",
}


def _open_model_zoo(number: str, parameters: float, rank1: float, mean_ap: float, *more: Score) -> Entry:
    name = f"person-reidentification-retail-{number}"
    seen = _SEEN_0287 if number == "0287" else {}
    return Entry(
        name=name,
        kind="re-ID network",
        what=f"Open Model Zoo's image network {number} for finding people again, 256 features, OpenVINO.",
        parameters=parameters,
        megabytes=round(4 * parameters + 0.45, 1),
        licence="Apache-2.0",
        trained_on="not published",
        scores=(
            Score(data="Market-1501", values=f"rank-1 {rank1}, mAP {mean_ap}", source=_CARD),
            *more,
        ),
        files=tuple(
            File(
                name=f"{name}.{ending}",
                url=f"{_OMZ}/{name}/FP32/{name}.{ending}",
                copies={seen[ending]: "a copy in yas-sim/object-tracking-line-crossing-area-intrusion"}
                if seen
                else {},
            )
            for ending in ("xml", "bin")
        ),
        opens=_BGR,
    )


def _osnet(name: str, what: str, parameters: float, *scores: Score) -> Entry:
    return Entry(
        name=name,
        kind="re-ID network",
        what=what,
        parameters=parameters,
        licence="code MIT; weights unclear: made from data sets that are for research only",
        trained_on="see the file you take: torchreid offers one a data set",
        scores=scores,
        files=(File(name=f"{name}.onnx"),),
        opens=_IMAGENET,
        by_hand=(
            "torchreid's model zoo (https://github.com/KaiyangZhou/deep-person-reid, docs/MODEL_ZOO.md) has its "
            "weights as PyTorch files only; export the one you want with that project's own exporter to "
            f"{name}.onnx, input 256 x 128"
        ),
    )


def _torchreid(data: str, rank1: float, mean_ap: float) -> Score:
    return Score(data=data, values=f"rank-1 {rank1}, mAP {mean_ap}", source="torchreid's model zoo")


_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"


def _yolox(size: str, parameters: float, average: float, copies: dict[str, str]) -> Entry:
    return Entry(
        name=f"yolox_{size}",
        kind="detector",
        what=f"YOLOX-{size}, 80 kinds of things, people first; input 416 x 416, ONNX.",
        parameters=parameters,
        megabytes=round(4 * parameters, 1),
        licence="Apache-2.0",
        trained_on="COCO 2017",
        scores=(Score(data="COCO val 2017, all classes", values=f"mAP {average}", source="YOLOX's README"),),
        files=(File(name=f"yolox_{size}.onnx", url=f"{_YOLOX}/yolox_{size}.onnx", copies=copies),),
    )


_BASE = Entry(
    name="base",
    kind="checkpoint",
    what="The network that comes with intraclip: EfficientNet-Lite0 taught on rendered people, 256 features.",
    parameters=4.4,
    megabytes=8.8,
    licence="Apache-2.0",
    trained_on="ImageNet (ILSVRC 2012), then 4,800 rendered people with a public network as teacher (docs/base.md)",
    scores=(
        Score(
            data="VIPeR, single shot, mean of ten random halves, trained on none of it",
            values="rank-1 35.3, rank-10 66.4",
            source="measured here",
        ),
    ),
    files=(
        File(
            name="base.safetensors",
            sha256="ab28e3d93abbbba8093879b854f43e16dd2f3d3bd791db8531c700f5aec9b40a",
        ),
    ),
    shipped="weights/base.safetensors",
)

STRONGER = (
    "person-reidentification-retail-0277",
    "person-reidentification-retail-0286",
    "person-reidentification-retail-0287",
    "osnet_ain_x1_0",
    "osnet_x1_0",
)
"""Networks that find people better than `base`, the first choice first. Of Open Model Zoo's, 0287 was measured on
VIPeR, and the larger ones are above it on Market-1501."""

WRITTEN = (
    _BASE,
    _open_model_zoo("0277", 2.103, 96.2, 87.7),
    _open_model_zoo("0286", 1.234, 94.8, 83.7),
    _open_model_zoo(
        "0287",
        0.595,
        92.9,
        76.6,
        Score(
            data="VIPeR, single shot, mean of ten random halves",
            values="rank-1 61.6, rank-10 88.5",
            source="measured here",
        ),
    ),
    _open_model_zoo("0288", 0.183, 86.1, 59.7),
    _osnet(
        "osnet_x1_0",
        "OSNet (Zhou et al., ICCV 2019): features of several scales, 512 numbers.",
        2.2,
        _torchreid("Market-1501, trained on it", 94.2, 82.6),
        _torchreid("MSMT17, trained on it", 74.9, 43.8),
    ),
    _osnet(
        "osnet_x0_25",
        "OSNet of a quarter of the width, 512 numbers.",
        0.2,
        _torchreid("Market-1501, trained on it", 91.2, 75.0),
        _torchreid("MSMT17, trained on it", 61.4, 29.5),
    ),
    _osnet(
        "osnet_ain_x1_0",
        "OSNet with instance normalisation where a search found it to help on other data (Zhou et al., TPAMI 2021).",
        2.2,
        _torchreid("Market-1501, trained on MSMT17", 70.1, 43.3),
    ),
    _yolox(
        "nano",
        0.91,
        25.8,
        {
            "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14": (
                "a copy in Kazuhito00/YOLOX-ONNX-TFLite-Sample"
            )
        },
    ),
    _yolox("tiny", 5.06, 32.8, {}),
)
"""Entries but torchvision's."""

_BACKBONES = ("resnet50", "resnet18", "inception_v3", "alexnet")
_TORCHVISION = {
    "resnet50": ("resnet50-0676ba61.pth", 25.56, 97.8, "acc@1 76.13, acc@5 92.862"),
    "resnet18": ("resnet18-f37072fd.pth", 11.69, 44.7, "acc@1 69.758, acc@5 89.078"),
    "inception_v3": ("inception_v3_google-0cc3c7bd.pth", 27.16, 103.9, "acc@1 77.294, acc@5 93.45"),
    "alexnet": ("alexnet-owt-7be5be79.pth", 61.1, 233.1, "acc@1 56.522, acc@5 79.066"),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (
        "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth", 19.39, 74.2, "box_map 22.8",
    ),
    "fasterrcnn_mobilenet_v3_large_fpn": (
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth", 19.39, 74.2, "box_map 32.8",
    ),
    "fasterrcnn_resnet50_fpn": ("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", 41.76, 159.7, "box_map 37.0"),
    "fasterrcnn_resnet50_fpn_v2": (
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", 43.71, 167.1, "box_map 46.7",
    ),
    "fcos_resnet50_fpn": ("fcos_resnet50_fpn_coco-99b0c9b7.pth", 32.27, 123.6, "box_map 39.2"),
    "retinanet_resnet50_fpn": ("retinanet_resnet50_fpn_coco-eeacb38b.pth", 34.01, 130.3, "box_map 36.4"),
    "retinanet_resnet50_fpn_v2": (
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth", 38.2, 146.0, "box_map 41.5",
    ),
    "ssd300_vgg16": ("ssd300_vgg16_coco-b556d3b4.pth", 35.64, 136.0, "box_map 25.1"),
    "ssdlite320_mobilenet_v3_large": (
        "ssdlite320_mobilenet_v3_large_coco-a79551df.pth", 3.44, 13.4, "box_map 21.3",
    ),
}  # fmt: skip
"""Torchvision's models: file (whose name holds its digest), millions of parameters, MB, scores. It says so itself, but
loading it takes seconds; a test compares."""

DETECTORS = tuple(name for name in _TORCHVISION if name not in _BACKBONES)
"""Detection models of torchvision whose weights can be loaded, by its names."""


def _torchvision(model: str) -> Entry:
    file, parameters, megabytes, values = _TORCHVISION[model]
    detects = model in DETECTORS
    return Entry(
        name=model if detects else f"{model}-imagenet",
        kind="detector" if detects else "backbone",
        what=(
            f"torchvision's detector {model}, 90 kinds of things, people first."
            if detects
            else f"torchvision's {model}, trained to tell 1,000 kinds of things apart."
        ),
        parameters=parameters,
        megabytes=megabytes,
        licence=(
            "code BSD-3-Clause; weights unclear: torchvision points to the terms of their training data"
            + ("" if detects else ", and ImageNet's speak of research")
        ),
        trained_on="COCO 2017" if detects else "ImageNet (ILSVRC 2012)",
        scores=(
            Score(
                data="COCO-val2017" if detects else "ImageNet-1K",
                values=values,
                source="torchvision's documentation",
            ),
        ),
        files=(
            File(
                name=file,
                url=f"https://download.pytorch.org/models/{file}",
                sha256=file.rsplit("-", 1)[1].removesuffix(".pth"),
            ),
        ),
        backbone="" if detects else model,
    )


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, in the order in which they are shown."""
    return {entry.name: entry for entry in (*WRITTEN, *map(_torchvision, _TORCHVISION))}
