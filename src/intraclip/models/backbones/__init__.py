"""Backbones: frames ``[N, 3, H, W]`` -> feature maps ``[N, F, h, w]``, or clips (`ClipNetwork`). One file a kind.

Those by name keep torchvision's key names, so that its ImageNet files load; ``timm:NAME`` is any network of timm.
"""

from __future__ import annotations

from intraclip.core.registry import Registry

BACKBONES = Registry(
    "model.backbone",
    __name__,
    {
        "resnet50": "resnet:ResNet50",
        "inception_v3": "inception:InceptionV3",
        "alexnet": "alexnet:AlexNet",
        "resnet18": "resnet:ResNet18",
        "small": "small:SmallNet",
        "resnet50_3d": "resnet3d:ResNet3D",
        "amoc": "amoc:AMOCBody",
        "timm:": "timm:TimmBody",
    },
    settings="settings",
)
"""Name -> file and class."""
