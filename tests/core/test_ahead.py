"""Work that is begun before the results ahead of it are read."""

from __future__ import annotations

import pytest
import torch

from intraclip.core.ahead import one_ahead
from intraclip.core.devices import Arriving


class Recorded(Arriving):
    """Says when it is begun and read."""

    def __init__(self, number: int, log: list[str]) -> None:
        super().__init__(torch.tensor(number))
        self.number, self.log = number, log
        log.append(f"begin {number}")

    def read(self) -> torch.Tensor:
        self.log.append(f"read {self.number}")
        return super().read()


def test_the_next_batch_is_begun_before_a_result_is_read_and_no_more_than_one():
    log: list[str] = []
    found = list(one_ahead(range(3), lambda number: Recorded(number, log)))
    assert [(batch, int(values)) for batch, values in found] == [(0, 0), (1, 1), (2, 2)]
    assert log == ["begin 0", "begin 1", "read 0", "begin 2", "read 1", "read 2"]


def test_no_batches_are_no_results():
    assert list(one_ahead([], lambda number: Recorded(number, []))) == []


@pytest.mark.parametrize("where", ["fetching", "starting"])
def test_an_error_comes_after_the_results_before_it(where):
    def batches():
        yield from (0, 1)
        if where == "fetching":
            raise OSError("batch 2")
        yield 2

    def start(number: int) -> Arriving:
        if number == 2:
            raise OSError("batch 2")
        return Recorded(number, [])

    found = []
    with pytest.raises(OSError, match="batch 2"):  # noqa: PT012  what came before it is looked at
        for batch, _ in one_ahead(batches(), start):
            found.append(batch)
    assert found == [0, 1]
