"""The numbers that a text says: digits as countries group them, fractions, powers, Roman and
Chinese numerals, words of several languages. Where "12.500" can be read in two ways, both count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

from raytune_agents.storage import yaml_beside

NUMBERS = yaml_beside(__file__, "words.yaml")
WORDS_OF_NUMBERS: dict[str, float] = {
    word: float(n) for line in NUMBERS["counted"].values() for n, word in enumerate(line.split())
} | NUMBERS["numbers"]
PLURALS = ("hundreds", "thousands", "millions", "billions", "dozens", "quarters", "thirds")
_PLAIN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+")
_SCALED = re.compile(
    r"(?<!\d)(\d[\d,]*+\.?+\d*+)\s*+(?:(k|m|bn|b|thousand|million|billion|lakh|percent)\b|(%))"
)
# 1.234,56  1 234,5  1'000: what other countries write for 1,234.56
_GROUPED = re.compile(r"(?<![\d.,])(\d{1,3}(?:[.'’ \u00a0\u202f]\d{3})+|\d+)(?:,(\d+))?(?![\d,])")
_MARKS = re.compile(r"\D")
_DATED = re.compile(r"(?<!\d)\d{1,4}(?:[./-]\d{1,4}){2}(?!\d)")
_PARTS = re.compile(r"(?<![\d/])(\d{1,4})/(\d{1,3})(?![\d/])")
_MIXED = re.compile(r"(\d{0,6}) ?([\u00bc-\u00be\u2150-\u215e])")  # 2½
_POWER = re.compile(r"\b(?:0x([0-9a-f]{1,12})|(\d{1,9}(?:\.\d{1,9})?e\+?\d{1,2})|10\^(\d{1,2}))\b")
_MEASURED = [
    (re.compile(rf"(?<![\d.])(\d{{1,9}}(?:\.\d{{1,9}})?) ?-?(?:{unit})\b"), factors)
    for unit, factors in NUMBERS["measures"].items()
]
_DEGREES = re.compile(r"(-?\d{1,4}(?:\.\d{1,3})?) ?(?:°|degrees?)? ?(c|f|celsius|fahrenheit)\b")
_ROMAN = re.compile(r"\b(?=[IVX]{2,6}\b)X{0,3}(?:IX|IV|V?I{0,3})\b")
_CHINESE = re.compile("[〇一二三四五六七八九十百千万億亿两]{1,12}")


def written_numbers(text: str) -> Iterator[float]:
    """Those in digits of a case-folded text."""
    for found in _PLAIN.findall(text):
        yield float(found.replace(",", ""))
    for number, scale, percent in _SCALED.findall(text):
        yield float(number.replace(",", "").rstrip(".")) * NUMBERS["scales"][scale or percent]
    for whole, rest in _GROUPED.findall(text):
        yield float(f"{_MARKS.sub('', whole)}.{rest or 0}")
    for found in _DATED.findall(text):
        yield from map(float, re.findall(r"\d+", found))
    for above, below in _PARTS.findall(text):
        if int(below):
            yield int(above) / int(below)
    for whole, part in _MIXED.findall(text):
        yield int(whole or 0) + unicodedata.numeric(part)
    for base_16, shifted, power in _POWER.findall(text):
        yield float(int(base_16, 16)) if base_16 else float(shifted or f"1e{power}")


def converted_numbers(text: str) -> Iterator[float]:
    """The measures of a case-folded text in other units, as they come out of the sum."""
    for pattern, factors in _MEASURED:
        for size in pattern.findall(text):
            yield from (float(size) * factor for factor in factors)
    for size, scale in _DEGREES.findall(text):
        if scale[:1] == "f":
            yield abs((float(size) - 32) / 1.8)
        else:
            yield abs(float(size) * 1.8 + 32)


def roman_numbers(text: str) -> Iterator[float]:
    """Those up to 39 of a text in its own case."""
    for found in _ROMAN.findall(text):
        values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in found]
        lower = sum(a for a, b in pairwise(values) if a < b)
        yield float(sum(values) - 2 * lower)


def chinese_numbers(text: str) -> Iterator[float]:
    for found in _CHINESE.findall(text):
        values = [unicodedata.numeric(c) if c != "两" else 2.0 for c in found]
        if max(values) < 10 and len(values) > 1:  # 二〇二四
            yield float("".join(f"{v:.0f}" for v in values))
            continue
        total = section = digit = 0.0
        for value in values:
            if value < 10:
                digit = value
            elif value < 10_000:
                section, digit = section + (digit or 1) * value, 0.0
            else:
                total, section, digit = total + (section + digit or 1) * value, 0.0, 0.0
        yield total + section + digit


def spoken_numbers(words: Iterable[str]) -> Iterator[float]:
    """Those of number words, alone and in a row: "two thousand and five", "twenty twenty four",
    "three quarters"."""
    row: list[float] = []
    for word in (*words, ""):
        size = WORDS_OF_NUMBERS.get(word.removesuffix("s") if word in PLURALS else word)
        if size is not None:
            row.append(size)
        elif row and word not in ("and", "a", "und", "y", "et"):
            yield from _of_row(row)
            row = []


def _of_row(row: list[float]) -> Iterator[float]:
    total = current = 0.0
    for size in row:
        if size >= 1000:
            total, current = total + (current or 1) * size, 0.0
        elif size == 100:
            current = (current or 1) * 100
        else:
            current += size
        yield size
        yield total + current
    for x, y in pairwise(row):
        yield x + y
        yield x * y
    if 13 <= row[0] <= 20 and len(row) > 1:  # a year
        yield 100 * row[0] + sum(row[1:3])
