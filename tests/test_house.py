"""The house rules that code can check: who may import whom, and how fast the front door opens."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import intraclip

SOURCE = Path(intraclip.__file__).parent

# A part may import itself and everything in the rows above it, but no sibling of its own row.
ROWS: list[list[str]] = [
    ["errors", "process"],
    ["arrays"],
    ["core"],
    ["types", "config"],
    ["earlier_recipes"],
    ["config_io"],
    ["recipe_files"],
    ["data", "models", "metrics"],
    ["studio", "losses", "export"],
    ["embed", "ingest"],
    ["train"],
    ["gallery"],
    ["link", "live"],
    ["adapt"],
    ["report"],
    ["serve"],
    ["lab"],
    ["cli"],
    ["__main__"],
]


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module] if node.module != "intraclip" else [f"intraclip.{a.name}" for a in node.names]
            )
        found |= {name.split(".")[1] for name in names if name.startswith("intraclip.")}
    return found


def test_right_imports_left_only():
    level = {part: number for number, row in enumerate(ROWS) for part in row}
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        own = part_of(path)
        if own == "__init__":
            continue
        assert own in level, f"{own} has no place in the house yet"
        for other in imports(path) - {own, "__version__"}:
            if level[other] >= level[own]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {other}")
    assert not wrong


def test_pictures_and_videos_are_read_in_one_place():
    """Elsewhere they would lie on their side, crash on a file's name, or fill the memory."""
    calls = ("VideoCapture", "VideoWriter", "imread", "imdecode", "decode_jpeg", "decode_jpeg_header")
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if node.func.attr in calls or (owner, node.func.attr) == ("Image", "open"):
                    found.add(path.relative_to(SOURCE).as_posix())
    # `sensor` decodes what it has just encoded: rendered frames have a camera's compression in them.
    elsewhere = {"studio/sensor.py", "studio/diverse_camera.py"}
    assert {path for path in found if not path.startswith("core/")} <= elsewhere


def calls(names: set[str]) -> set[str]:
    """Files that call one of these, as "owner.name" or as "name"."""
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                found.add(path.relative_to(SOURCE).as_posix())
    return found


def test_files_are_written_whole_in_one_place():
    """A training log is appended to."""
    assert calls({"os.fsync"}) <= {"core/files.py", "train/run_folder.py"}


def test_locks_are_taken_in_one_place():
    """The gallery's counter waits for its turn, which is no lock that keeps others out."""
    assert calls({"fcntl.flock"}) <= {"core/locks.py", "gallery/folder_files.py"}


def test_a_file_has_its_digest_from_one_place():
    assert calls({"hashlib.file_digest"}) == {"core/files.py"}


def test_networks_are_compiled_by_openvino_in_one_place():
    """Elsewhere they would compute in bf16 on some machines and not on others."""
    text = {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")
    }
    assert {name for name, found in text.items() if "compile_model(" in found} == {"core/openvino_cpu.py"}


def test_the_picture_of_the_house_is_the_one_that_is_checked():
    text = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = " -> ".join(" | ".join(row) for row in ROWS)
    assert picture in " ".join(text.split()), f"CONTRIBUTING.md should show: {picture}"


def test_layouts_in_the_settings_are_those_that_can_be_read():
    from intraclip import config
    from intraclip.data.layouts import LAYOUTS

    assert get_args(config.Layout) == ("auto", *LAYOUTS)
    assert {name: LAYOUTS.load(name).name for name in LAYOUTS} == {name: name for name in LAYOUTS}


def test_every_registered_part_is_there_and_declares_settings():
    from dataclasses import is_dataclass

    from intraclip.losses import LOSSES
    from intraclip.models.backbones import BACKBONES
    from intraclip.models.heads import HEADS

    for registry in (HEADS, BACKBONES, LOSSES):
        for name in registry:
            part = registry.load(f"{name}x" if name.endswith(":") else name)
            assert is_dataclass(part.Settings), name


def test_only_the_command_line_opens_lab_and_studio():
    wrong = [
        f"{path.relative_to(SOURCE)} imports {other}"
        for path in sorted(SOURCE.rglob("*.py"))
        if part_of(path) not in ("lab", "studio", "cli")
        for other in imports(path) & {"lab", "studio"}
    ]
    assert not wrong


def test_help_and_config_import_no_torch():
    code = (
        "import sys; from intraclip.cli.main import main; import intraclip.config_io; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_recipes_are_read_without_torch():
    code = (
        "import sys; from intraclip.config_io import dump_recipe, recipe_from_table; "
        "from intraclip.recipe_files import SHIPPED, load_recipe, recipes_in; "
        "from intraclip.losses import LOSSES; from intraclip.models.backbones import BACKBONES; "
        "from intraclip.models.heads import HEADS; "
        "ica = {'name': 'ica', 'reduction': 8}; every = {name: {'weight': 0.5} for name in LOSSES}; "
        "recipe_from_table({'loss': every, 'model': {'head': ica}}, source='test'); "
        "[r.settings_type(name.replace(':', ':x')) for r in (HEADS, BACKBONES) for name in r]; "
        "[dump_recipe(load_recipe(name)) for name in recipes_in(SHIPPED)]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [["train", "--help"], ["train", "--help-all"], ["completion", "bash"]])
def test_flags_are_told_without_torch(words):
    code = (
        "import sys; from intraclip.cli.main import main; "
        f"sys.exit(main({words}) or any(m in sys.modules for m in ('torch', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_help_imports_nothing_but_the_standard_library():
    """So it answers in 0.05 s."""
    code = (
        "import sys; before = set(sys.modules); from intraclip.cli.main import main; main(['--help']); "
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}; "
        "sys.exit(' '.join(sorted(new - sys.stdlib_module_names - {'intraclip'})) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("intraclip.config", ("torch", "numpy")),
        ("intraclip.types", ("torch", "torchvision")),
        ("intraclip.metrics.ranking", ("torch", "torchvision", "sklearn")),
        ("intraclip.metrics.calibration", ("torch", "torchvision", "sklearn")),
        ("intraclip.losses", ("torch", "numpy")),
        ("intraclip.losses.base", ("torchvision", "cv2", "PIL")),
        ("intraclip.models.heads", ("torchvision", "cv2", "PIL")),
        ("intraclip.data.augment", ("torchvision", "PIL")),
        ("intraclip.embed.embeddings_io", ("torchvision",)),
    ],
)
def test_a_part_imports_no_more_than_it_needs(module, absent):
    code = f"import sys, {module}; print(*(m for m in {absent!r} if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == ""
