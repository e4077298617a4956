"""Tables as CSV: those that people make or change in a spreadsheet, and those that are written for them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from intraclip.core.files import write_text
from intraclip.errors import DataError


def read_table(path: Path, needed: Sequence[str] = (), *, what: str = "") -> list[tuple[int, dict[str, str]]]:
    """Read CSV: in UTF-8, with or without a byte order mark, divided by commas, semicolons or tabs.

    The columns `needed` must be there; where one is not, the message says `what` such a file has.

    Returns:
        Every row with its line, by column, without blanks around its values; what is missing is empty. Rows of empty
        values are left out.

    Raises:
        DataError: it cannot be read, lacks a column, or has one twice, or a row has more values than columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason}); save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    found = []
    try:
        columns = [name.strip() for name in next(reader, [])]
        if missing := [name for name in needed if name not in columns]:
            raise DataError(f"{path} lacks the column {missing[0]!r}" + (f"; {what}" if what else ""))
        if twice := [name for name in columns if name and columns.count(name) > 1]:
            raise DataError(f"{path} has the column {twice[0]!r} twice")
        for row in reader:
            values = [value.strip() for value in row]
            if len(values) > len(columns) and any(values[len(columns) :]):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(values)} values, and there are {len(columns)} columns"
                )
            if any(values):
                values += [""] * (len(columns) - len(values))
                found.append((reader.line_num, dict(zip(columns, values, strict=False))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is no CSV: {error}") from None
    return found


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]], *, replace: bool = True
) -> None:
    """Write a table as `write_text` writes text."""
    write_text(path, csv_text(columns, rows), replace=replace)


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table as CSV; None is an empty field."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return table.getvalue()
