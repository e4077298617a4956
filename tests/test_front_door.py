"""The names that a library user may rely on, how they load, and what they say about themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import intraclip as ic

NAMES = {
    "ICA",
    "SDA",
    "TAP",
    "BatchHardTriplet",
    "Embeddings",
    "Gallery",
    "IntraclipError",
    "Network",
    "Recipe",
    "Split",
    "Tracklet",
    "adapt",
    "batch_hard_triplet",
    "evaluate",
    "heads",
    "ingest",
    "lift",
    "link",
    "load",
    "read",
    "score",
    "similarity",
    "train",
}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout


def test_the_names_are_these():
    """Adding one is a promise; taking one away breaks somebody's program."""
    assert set(ic.__all__) == NAMES
    assert set(dir(ic)) == NAMES | {"__version__"}
    assert len(ic.__all__) == len(NAMES)


def test_the_import_loads_nothing():
    code = (
        "import sys; before = set(sys.modules); import intraclip; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names), "
        "*(m for m in sys.modules if m.startswith('intraclip.')))"
    )
    assert run(code).split() == ["intraclip"]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_there_and_shows_itself_in_an_example(name):
    found = getattr(ic, name)
    if inspect.ismodule(found):  # a package that is called by its name
        assert callable(found)
        module = sys.modules[found.__function__.__module__]
        found = found.__function__
        assert inspect.signature(getattr(ic, name)) == inspect.signature(found)
        assert module.__name__.startswith("intraclip.")
    documented = found.embed if name == "Network" else found
    assert ">>> " in (inspect.getdoc(documented) or "")


@pytest.mark.parametrize("name", ["link", "train", "ingest"])
def test_a_package_of_the_same_name_can_still_be_imported_from(name):
    code = (
        f"import intraclip as ic; before = ic.{name}; import intraclip.{name} as package; "
        f"import intraclip.{name}.module; print(before is package is ic.{name}, callable(ic.{name}))"
    )
    code = code.replace(".module", {"link": ".people", "ingest": ".pipeline", "train": ".loop"}[name])
    assert run(code).split() == ["True", "True"]


def test_no_such_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = ic.no_such_name  # type: ignore[attr-defined]
    assert not hasattr(ic, "read_split")
