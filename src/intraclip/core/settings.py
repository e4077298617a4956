"""Settings as dataclasses: bounds stand on the field they bound, and all problems of a table are found at once.

A field made by `part` chooses among the parts of a `Registry`: ``head = "ica"``, or as a table with the settings that
the part itself declares, ``[model.head] name = "ica"  reduction = 4``. What is given of them is kept in the field's
neighbour, ``head_settings``, and only what differs from the part's defaults, so that equal settings are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, asdict, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from intraclip.core.registry import Registry, open_registry
from intraclip.errors import ConfigError, did_you_mean

ConfigT = TypeVar("ConfigT")
Given = Mapping[str, Any]
"""Settings of a part that are given for it, by name."""
OF_PART = {"settings": True}
"""Metadata of the field that holds them."""


class _Bounds(NamedTuple):
    low: float
    high: float
    above: bool
    below: bool
    pair: bool

    def wrong(self, value: Any) -> str:
        """What is wrong with a value; empty when nothing is."""
        low, high = self.low, self.high
        if self.pair:
            fits = low <= value[0] <= value[1] <= high
            return "" if fits else f"must be a pair (low, high) with {low} <= low <= high <= {high}"
        numbers = value if isinstance(value, tuple) else (value,)
        if all(
            low <= n <= high and not ((self.above and n == low) or (self.below and n == high))
            for n in numbers
        ):
            return ""
        if high == math.inf:
            return f"must be above {low}" if self.above else f"is too small, at least {low}"
        if self.above:
            return f"must lie above {low}, up to {high}"
        return f"must lie in {low}..{high}" + (f", {high} excluded" if self.below else "")


def bounded(
    default: Any,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    pair: bool = False,
) -> Any:
    """A field of a dataclass that lies in low..high; of a tuple, each number does.

    `above` and `below` take `low` and `high` themselves out of the range; a `pair` is two ends of something.
    """
    return field(default=default, metadata={"bounds": _Bounds(low, high, above, below, pair)})


def share(default: float) -> Any:
    """A field of a dataclass that lies in 0..1."""
    return bounded(default, 0, 1)


def part(default: str, registry: str) -> Any:
    """A field that names a part of a registry, given as `open_registry` takes it.

    Its neighbour, with ``_settings`` added to its name, has `OF_PART`.
    """
    return field(default=default, metadata={"part": registry})


def parts(registry: str) -> Any:
    """A field with settings of any parts of a registry, all of which are at work: name -> what is given of it."""
    return field(default_factory=dict, metadata={"parts": registry})


def registry_of(item: Field[Any], made_by: Literal["part", "parts"] = "part") -> Registry | None:
    """The registry of a field made by `part`, or by `parts`; None of any other."""
    place = item.metadata.get(made_by)
    return None if place is None else open_registry(place)


def settings_of(kind: Registry, name: str, given: Given) -> Any:
    """The settings of a part, as the dataclass that it declares; `given` are those that are not as by default.

    Raises:
        ConfigError: there is no such part, or it has no such settings: all problems at once.
    """
    found: list[str] = []
    made = _part_settings(kind, name, given, where=kind.key, found=found)
    if found:
        raise ConfigError("\n".join(found))
    return made


def _of_each(kind: Registry, raw: Any, *, where: str, found: list[str]) -> dict[str, dict[str, Any]]:
    """What is given of parts and is not as by default."""
    chosen = {}
    for name, table in _table(raw, where, found).items():
        place = f"{where}.{name}"
        if name not in list(kind):
            found.append(f"{place}: unknown key{did_you_mean(name, kind)}")
        elif given := _given(kind, name, _table(table, place, found), where=place, found=found):
            chosen[name] = given
    return chosen


def _given(kind: Registry, name: str, table: Given, *, where: str, found: list[str]) -> dict[str, Any]:
    """What a table gives of a part that is not as by default; nothing where something is wrong."""
    before = len(found)
    if wrong := kind.problem(name):
        found.append(f"{where}: {wrong}")
    if wrong or not table:  # a part is imported only where something of it must be known
        return {}
    made = _part_settings(kind, name, table, where=where, found=found)
    return {} if len(found) > before else differing(made)


def _part_settings(kind: Registry, name: str, given: Given, *, where: str, found: list[str]) -> Any:
    declared = kind.settings_type(name)
    known = [f.name for f in fields(declared)]
    for key in [key for key in given if key not in known]:
        has = f"its settings are {', '.join(known)}" if known else "it has no settings"
        chosen = "" if where.endswith(f".{name}") else f"{where} is {name}, and "
        found.append(f"{where}.{key}: unknown key{did_you_mean(key, known)}; {chosen}{has}")
    own = {key: value for key, value in given.items() if key in known}
    made = dataclass_from_table(declared, own, prefix=f"{where}.", found=found)
    found.extend(problems(made, prefix=f"{where}."))
    return made


def require_bounds(config: Any, what: str = "", more: Iterable[str] = ()) -> None:
    """Refuse a dataclass with values that are out of their bounds.

    Raises:
        ConfigError: all of it at once.
    """
    if found := "; ".join([*problems(config), *more]):
        raise ConfigError(f"{what}: {found}" if what else found)


def problems(config: Any, *, prefix: str = "") -> Iterator[str]:
    """Yield every value of a dataclass that is out of its bounds, as "section.key: what is wrong"."""
    hints = hints_of(type(config))  # type: ignore[arg-type]
    for item in fields(config):
        value, where, hint = getattr(config, item.name), f"{prefix}{item.name}", hints[item.name]
        found: list[str] = []
        if is_dataclass(value):
            yield from problems(value, prefix=f"{where}.")
        elif (each := registry_of(item, "parts")) is not None:
            _of_each(each, value, where=where, found=found)
        elif (registry := registry_of(item)) is not None:
            _given(registry, value, getattr(config, f"{item.name}_settings"), where=where, found=found)
        elif value is None and type(None) in get_args(hint):
            pass  # left out
        elif get_origin(hint) is Literal and value not in (choices := get_args(hint)):
            found.append(f"{where}: {shown(value)} is not one of {', '.join(map(str, choices))}")
        elif wrong := _wrong(item, value):
            found.append(f"{where}: {value} {wrong}")
        yield from found


def _wrong(item: Field[Any], value: Any) -> str:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int) and number >= 2**63:
            return "is too large, below 2**63"
        if isinstance(number, float) and not math.isfinite(number):
            return "is not finite"
    bounds: _Bounds | None = item.metadata.get("bounds")
    return "" if bounds is None else bounds.wrong(value)


def dataclass_from_table(
    kind: type[ConfigT], table: Mapping[str, Any], *, prefix: str, found: list[str]
) -> ConfigT:
    """Build one config dataclass, appending every problem to `found` and keeping defaults there."""
    hints = hints_of(kind)  # type: ignore[arg-type]
    known = {f.name: f for f in fields(kind) if "settings" not in f.metadata}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, raw in table.items():
        where = f"{prefix}{key}"
        if key not in known:
            found.append(f"{where}: unknown key{did_you_mean(key, known)}")
            continue
        if (registry := registry_of(known[key])) is not None:
            values |= _chosen(registry, known[key], raw, where=where, found=found)
        elif (each := registry_of(known[key], "parts")) is not None:
            values[key] = _of_each(each, raw, where=where, found=found)
        elif is_dataclass(hints[key]):
            own = _table(raw, where, found)
            values[key] = dataclass_from_table(hints[key], own, prefix=f"{where}.", found=found)
        else:
            try:
                values[key] = _convert(raw, hints[key])
            except ValueError as error:
                found.append(f"{where}: {error}")
    return kind(**values)


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Types of the fields of a dataclass, by name."""
    return get_type_hints(kind)


def _chosen(
    registry: Registry, item: Field[Any], raw: Any, *, where: str, found: list[str]
) -> dict[str, Any]:
    """The two fields of a part, of its name or its table. A name that is unknown is said by `problems`."""
    table = part_table(raw)
    name = table.pop("name", item.default)
    if not isinstance(name, str):
        found.append(f"{where}: {shown(name)} is no text; {registry.names()}")
        return {}
    if registry.problem(name):
        return {item.name: name}
    given = _given(registry, name, table, where=where, found=found)
    return {item.name: name, f"{item.name}_settings": given}


def differing(settings: Any) -> dict[str, Any]:
    """Those of a dataclass that are not as by default, by name."""
    default = asdict(type(settings)())
    return {key: value for key, value in asdict(settings).items() if value != default[key]}


def table_of(config: Any, *, whole: bool = True) -> dict[str, Any]:
    """A dataclass as nested dictionaries, which `dataclass_from_table` reads back.

    `whole` has every setting of its parts, not just those that are given; it imports the parts.
    """
    table: dict[str, Any] = {}
    for item in fields(config):
        value, registry = getattr(config, item.name), registry_of(item)
        if "settings" in item.metadata:
            continue
        if registry is not None:
            given = getattr(config, f"{item.name}_settings")
            settings = asdict(settings_of(registry, value, given)) if whole else dict(given)
            value = {"name": value, **settings} if settings else value
        elif (each := registry_of(item, "parts")) is not None:
            value = {
                name: asdict(settings_of(each, name, value.get(name, {}))) if whole else dict(value[name])
                for name in (each if whole else value)
            }
        table[item.name] = table_of(value, whole=whole) if is_dataclass(value) else value
    return table


def part_table(raw: Any) -> dict[str, Any]:
    """The table of a part, which may be named alone; empty of None."""
    if raw is None:
        return {}
    return dict(raw) if isinstance(raw, Mapping) else {"name": raw}


def _convert(raw: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        options = get_args(hint)
        if raw in options and not isinstance(raw, bool):
            return raw
        suggestion = did_you_mean(shown(raw).strip("'"), [str(o) for o in options])
        raise ValueError(f"{shown(raw)} is not one of {', '.join(map(str, options))}{suggestion}")
    if origin is tuple:
        kinds = get_args(hint)
        if not isinstance(raw, list | tuple) or len(raw) != len(kinds):
            raise ValueError(f"{shown(raw)} is no list of {len(kinds)} numbers")
        return tuple(_convert(item, kind) for item, kind in zip(raw, kinds, strict=True))
    if isinstance(raw, int) and abs(raw) >= 2**63:
        raise ValueError(f"{shown(raw)} is too large, below 2**63")
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, hint) and (hint is bool or not isinstance(raw, bool)):
        return raw
    words = {int: "no whole number", float: "no number", bool: "not true or false", str: "no text"}
    raise ValueError(f"{shown(raw)} is {words.get(hint, f'no {hint}')}")


def _table(raw: Any, where: str, found: list[str]) -> Mapping[str, Any]:
    """A value that has to be a table; what is none is said, and empty."""
    if isinstance(raw, Mapping):
        return raw
    found.append(f"{where}: {shown(raw)} is no table; write [{where}] and keys below it")
    return {}


def shown(raw: Any) -> str:
    """A value for a message, of bounded length."""
    try:
        text = repr(raw)
    except ValueError:  # Python prints no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"
