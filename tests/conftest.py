"""`pytest -m slow --part 2/4`: the second of four parts of the tests that are chosen, so that each
ends within a quarter of the time. Neighbours stay together: they share what they set up."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", type=part_of, default=(1, 1), help="K/N: the K-th of N parts")


def part_of(text: str) -> tuple[int, int]:
    """`2/4` -> (2, 4). Raises ValueError."""
    number, _, count = text.partition("/")
    if not 1 <= int(number) <= int(count):
        raise ValueError(text)
    return int(number), int(count)


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, count = config.getoption("--part")
    first, end = (len(items) * k // count for k in (number - 1, number))
    config.hook.pytest_deselected(items=items[:first] + items[end:])
    items[:] = items[first:end]
