"""The zoo: public networks and detectors by name.

An entry says what a network is, how large, under which licence, trained on what, how well it does and who says so,
where its files come from, and how they are opened. Nothing is downloaded unless it is asked for (`intraclip models
get`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from intraclip.errors import CheckpointError, ConfigError, did_you_mean
from intraclip.models.zoo.cache import folder_of
from intraclip.models.zoo.catalogue import WRITTEN
from intraclip.models.zoo.catalogue import entries as entries
from intraclip.models.zoo.entry import Entry as Entry


def find(name: str) -> Entry | None:
    """The entry of a name; None for what is no name of the zoo."""
    return next((entry for entry in WRITTEN if entry.name == name), None) or entries().get(name)


def named(name: str) -> Entry:
    """The entry of a name.

    Raises:
        ConfigError: there is none; the nearest name is suggested.
    """
    entry = find(name)
    if entry is None:
        hint = did_you_mean(name, entries())
        raise ConfigError(f"the zoo has no {name!r}{hint}; `intraclip models list` shows what it has")
    return entry


def files_of(entry: Entry) -> list[Path]:
    """Where the files of an entry are, or would be: in the package, or in the cache."""
    if entry.shipped:
        return [Path(str(resources.files("intraclip"))) / entry.shipped]
    return [folder_of(entry) / file.name for file in entry.files]


def shipped_name(file: Path) -> str:
    """The name of the network that comes with the package as this file; empty for any other file."""
    return next((e.name for e in WRITTEN if e.shipped and files_of(e)[0] == file), "")


def shipped_calibrations() -> Iterator[str]:
    """What the distances of the networks that come with the package mean, as JSON texts; one a network."""
    for entry in WRITTEN:
        if entry.shipped:
            yield files_of(entry)[0].with_suffix(".calibration.json").read_text(encoding="utf-8")


def is_here(entry: Entry) -> bool:
    """Whether all files of an entry are there."""
    return all(file.is_file() for file in files_of(entry))


def local_file(entry: Entry) -> Path:
    """The first file of an entry, the one that is opened.

    Raises:
        CheckpointError: it is not here yet; says how to get it, with and without internet.
    """
    if not is_here(entry):
        raise CheckpointError(how_to_get(entry))
    return files_of(entry)[0]


def how_to_get(entry: Entry) -> str:
    """One sentence for who wants a network that is not here yet."""
    names = " and ".join(file.name for file in entry.files)
    where = f"put {names} into {folder_of(entry)}"
    if entry.by_hand:
        return f"{entry.name} is not here yet: {entry.by_hand}, then {where}"
    sources = " and ".join(file.url for file in entry.files)
    return (
        f"{entry.name} is not here yet ({entry.size}): get it with `intraclip models get {entry.name}`; without "
        f"internet, fetch {sources} elsewhere and {where}"
    )


def resolve(given: Path, *, kinds: tuple[str, ...]) -> Path:
    """The file that a path or a name of the zoo stands for. What is there as a file or folder is no name.

    Raises:
        ConfigError: the name is of another kind.
    """
    entry = None if given.exists() else find(str(given))
    if entry is None:
        return given
    if entry.kind not in kinds:
        raise ConfigError(f"{entry.name} is a {entry.kind}, wanted here: {' or '.join(kinds)}")
    return local_file(entry)


def find_weights(given: str) -> Path:
    """The file that `model.weights` stands for; errors as `resolve`."""
    return resolve(Path(given), kinds=("backbone", "checkpoint"))


def settings_of(entry: Entry) -> Mapping[str, object]:
    """How a re-identification network's frames are prepared, in the words of a network's TOML description."""
    return {"network": entry.files[0].name, "description": entry.what, **entry.opens}
