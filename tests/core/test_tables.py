"""Tables that a spreadsheet wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.core.tables import read_table
from intraclip.errors import DataError


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x y\n,\n2,\n",
        "\ufeffa;b\r\n1; x y \r\n;\r\n2\r\n",
        "a\tb\n1\tx y\n\n2\t\t\n",
        '"a","b"\n"1","x y"\n\n"2",""',
    ],
)
def test_what_spreadsheets_write_is_read_alike(tmp_path: Path, text: str):
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode())
    assert read_table(file, ("a", "b")) == [(2, {"a": "1", "b": "x y"}), (4, {"a": "2", "b": ""})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"t\.csv lacks the column 'a'; a table has a"),
        (b"b,c\n1,2\n", r"t\.csv lacks the column 'a'"),
        (b"a,b,a\n1,2,3\n", "has the column 'a' twice"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 values, and there are 2 columns"),
        (b"a\n\xff\xfe\n", "no text in UTF-8"),
        (b"a\n" + b"x" * 200_000 + b"\n", "is no CSV"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_line(tmp_path: Path, content: bytes, words: str):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_table(file, ("a",), what="a table has a")
