"""Is every argument value of a call said in the request or in an observation before it?

A value counts as grounded when its words, number or date occur in the evidence: system, user and
tool turns before the call. What the assistant said is no evidence. The exceptions, each because
the value is right without being said:

- booleans, null, empty values, 0 and 1;
- the schema's own words: default, enum, const, examples, the descriptions of tool and parameter;
- numbers: words (twelve, dozen, 3rd, half), 1,000 = 1k = 1000, 5 % = 0.05, counts of listed things
  are not checked; a number times a unit factor where the evidence names a unit (2 hours = 120);
- dates and times: each part is said, as a number or a month's name; the year may be left out, and
  the first or last day of a said month or year; any date where the evidence speaks of a day
  relative to now (tomorrow, next week, Friday); an offset one below a said ordinal (11th = 10);
- codes of two to four letters that abbreviate said words (en, US, JPY, Hz), and CODES;
- inflected words (hikes, hiking), and text in which at least half the words are said; in a
  text of up to eight words every number is, too.

What world knowledge would tell (AAPL for Apple, Paris for "capital of France") counts as not
grounded: the rule measures text, not truth.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

from raytune_agents.calls.schema import properties_of
from raytune_agents.filters.numerals import (
    chinese_numbers,
    converted_numbers,
    roman_numbers,
    spoken_numbers,
    written_numbers,
)
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, scalars_in
from raytune_agents.storage import yaml_beside

ENOUGH = 0.5  # share of a text value's words that must be said
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DATE = re.compile(r"^\d{1,4}([-/.:]\d{1,4}){1,2}([t ]\d.*)?z?$|^(19|20)\d\d[01]\d[0-3]\d$")
_LASTING = re.compile(r"(\d{1,9}) ?(?:ms|s|secs?|m|mins?|h|d)")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_RELATIVE = re.compile(
    r"\b(today|tonight|tomorrow|yesterday|now|current(ly)?|ago|recent(ly)?|next|last|past|this|"
    r"upcoming|coming|weekend|noon|midnight|morning|evening|afternoon|"
    r"in \w+ (day|week|month|year|hour|minute)|\w+ (day|week|month)s? (from|after|before|later)|"
    r"(mid|early|late|end of|start of|beginning of)[ -](the )?(month|year|week|"
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*|(19|20)\d\d)|"
    r"(quarter|five|ten|twenty) (to|past|before) \w+|q[1-4]|(19|20)?\d0s|"
    r"christmas|easter|thanksgiving|halloween|new year|valentine|"
    r"(mon|tues|wednes|thurs|fri|satur|sun)day)'?s?\b"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_UNIT = re.compile(
    r"\b(\w*(met(er|re)|gram|byte|second|minute|hour|day|week|month|year|feet|foot|inch|mile|"
    r"pound|ounce|lit(er|re)|watt|volt|ohm|hertz|joule|newton|pascal|cent|dozen)s?|"
    r"k?m|cm|mm|nm|kg|mg|lbs?|oz|[kmgt]b|ms|sec|min|h(rs?)?|[km]?hz|mph|°?[cf]|[uμµmnp][fhcm])\b"
)
# fmt: off
_FACTORS = (12, 7, 10, 16, 24, 28, 30, 31, 36, 52, 60, 100, 365, 1000, 1024, 1440, 3600, 10080,
            86400, 604800, 1e6, 1e9, 1e12)
# fmt: on
WORDS: dict[str, Any] = yaml_beside(__file__, "words.yaml")
_MONTH_NAMES = {m: n for line in WORDS["months"] for n, m in enumerate(line.split(), 1)}
_DAY_NAMES = re.compile(WORDS["relative"])
CODES: dict[str, str] = WORDS["codes"]
_PLAIN_LETTERS = str.maketrans("łøđŁØĐ’‘“”", "lodLOD''\"\"")
_STOP = frozenset(WORDS["common"].split())
# bounds on the search for abbreviations, which an honest row is far from
MOST_CODES, MOST_SPANS, SPAN_CHARS = 300, 2_000, 60
MOST_MEASURES = 100
SHORT_TEXT = 8  # words; in a text of at most so many every number must be said


def split_words(text: str) -> list[str]:
    """Lower-case words and digit runs; camelCase and snake_case fall apart."""
    return [w.casefold() for w in _WORD.findall(_CAMEL.sub(" ", text))]


def unaccented(text: str) -> str:
    """The text in plain forms of its letters: without accents, wide or styled ones."""
    if text.isascii():
        return text
    # fractions would come apart: 2½ is no 21/2
    kept = (
        c if unicodedata.category(c) == "No" else unicodedata.normalize("NFKD", c) for c in text
    )
    plain = (c for c in "".join(kept) if unicodedata.category(c) not in ("Mn", "Cf"))
    return "".join(plain).translate(_PLAIN_LETTERS)


class Evidence:
    """What may ground a value: a text, looked at as words, as numbers and as one compact string."""

    def __init__(self, text: str):
        self.raw = unaccented(text)
        self.text = self.raw.casefold()
        self.codes: dict[str, bool] = {}  # those looked for, and whether they are there

    @cached_property
    def compact(self) -> str:
        return "".join(c for c in self.text if c.isalnum())

    @cached_property
    def word_list(self) -> list[str]:
        return split_words(self.raw)

    @cached_property
    def word_set(self) -> frozenset[str]:
        return frozenset(self.word_list)

    @cached_property
    def numbers(self) -> frozenset[float]:
        """Every number said, in digits or words: see `numerals`."""
        found = {*written_numbers(self.text), *spoken_numbers(self.word_list)}
        found.update(*(read(self.raw) for read in (roman_numbers, chinese_numbers)))
        return frozenset(n for n in found | self.months if math.isfinite(n))

    @cached_property
    def in_order(self) -> list[float]:
        return sorted(self.numbers)

    def has_number(self, size: float) -> bool:
        """Whether a number within a millionth of `size`, or a whole one itself, is said."""
        slack = 0.0 if size.is_integer() else abs(1e-6 * size)
        at = bisect_left(self.in_order, size - slack)
        return at < len(self.in_order) and self.in_order[at] <= size + slack

    @cached_property
    def converted(self) -> frozenset[float]:
        """The measures said, in units of other countries."""
        return frozenset(islice(converted_numbers(self.text), MOST_MEASURES))

    @cached_property
    def words_in_order(self) -> list[str]:
        return sorted(self.word_set)

    @cached_property
    def word_lengths(self) -> list[int]:
        """The lengths of the words said, from four letters on."""
        return sorted({len(w) for w in self.word_set if len(w) > 3})

    def has_form_of(self, word: str, stem: str) -> bool:
        """Whether a word said begins with `stem`, or one of more than three letters begins
        `word`."""
        at = bisect_left(self.words_in_order, stem)
        if at < len(self.words_in_order) and self.words_in_order[at].startswith(stem):
            return True
        shorter = (n for n in self.word_lengths if n <= len(word))
        return any(word[:n] in self.word_set for n in shorter)

    @cached_property
    def spans(self) -> dict[str, list[str]]:
        """Initial -> one to three words in a row as one text, at most MOST_SPANS in all."""
        out: dict[str, list[str]] = {}
        listed = ("".join(self.word_list[i : i + 3]) for i in range(len(self.word_list)))
        for span in islice(dict.fromkeys(listed), MOST_SPANS):
            out.setdefault(span[0], []).append(span[:SPAN_CHARS])
        return out

    def has_code(self, code: str) -> bool:
        """Whether words said in a row spell `code` in order, from an initial on. Of an answer only
        the first MOST_CODES codes are looked at."""
        if code not in self.codes:
            self.codes[code] = len(self.codes) < MOST_CODES and any(
                spells(code, span) for span in self.spans.get(code[0], ())
            )
        return self.codes[code]

    @cached_property
    def offsets(self) -> set[float]:
        """What an offset counted from zero is for the ordinals said."""
        return {float(n) - 1 for n in _ORDINAL.findall(self.text)}

    @cached_property
    def has_unit(self) -> bool:
        return bool(_UNIT.search(self.text))

    @cached_property
    def relative(self) -> bool:
        return bool(_RELATIVE.search(self.text) or _DAY_NAMES.search(self.text))

    @cached_property
    def months(self) -> set[float]:
        starts = {w[:3] for w in self.word_set}
        named = {float(_MONTH_NAMES[w]) for w in self.word_set & _MONTH_NAMES.keys()}
        return named | {float(i) for i, m in enumerate(_MONTHS, 1) if m in starts}


def is_grounded_number(value: float, evidence: Evidence) -> bool:
    """The number itself, its negative, or with a unit word in sight times a unit factor."""
    try:
        size = float(abs(value))
    except OverflowError:
        return False  # nobody says a number of three hundred digits
    if size in (0, 1) or size in evidence.offsets or evidence.has_number(size):
        return True
    factors = _FACTORS if evidence.has_unit else ()
    if any(evidence.has_number(size / f) or evidence.has_number(size * f) for f in factors):
        return True
    return any(abs(size - n) <= max(0.006 * abs(n), 0.06) for n in evidence.converted)


def is_grounded_date(value: str, evidence: Evidence) -> bool:
    """Each part of a date or time is said; a four-digit year only where the evidence has one."""
    if evidence.relative:
        return True
    pm = 12 if re.search(r"\d\s*(p\.?m|o'clock)", evidence.text) else 0
    years = any(1900 <= n <= 2100 for n in evidence.numbers)
    edges = {0, 1, 28, 29, 30, 31, 12, 23, 59} if years or evidence.months else {0}
    numbers = evidence.numbers | edges
    parts = (value[:4], value[4:6], value[6:]) if value.isdigit() else re.findall(r"\d+", value)
    return all(
        part in numbers
        or (part < 24 and part - pm in numbers)
        or (1900 <= part <= 2100 and (not years or part % 100 in evidence.numbers))
        for part in map(int, parts)
    )


def spells(code: str, text: str) -> bool:
    """Whether the letters of `code` stand in the text in their order."""
    rest = iter(text)
    return all(letter in rest for letter in code)


def is_grounded_word(word: str, evidence: Evidence) -> bool:
    """The word, its digits as a number, an abbreviation, or an inflected form (60 % prefix)."""
    if word in evidence.word_set:
        return True
    if word.isdigit():
        return float(word) in evidence.numbers
    if 2 <= len(word) <= 4 and evidence.has_code(word):
        return True
    if any(name in evidence.text for name in CODES.get(word, "").split("|") if name):
        return True
    stem = word[: max(3, (3 * len(word) + 4) // 5)]
    return len(word) > 3 and evidence.has_form_of(word, stem)


def is_grounded(value: Any, evidence: Evidence) -> bool:
    """Whether the evidence grounds one scalar."""
    if value is None or isinstance(value, bool) or value == "":
        return True
    if isinstance(value, (int, float)):
        whole = str(value)
        dated = bool(_DATE.match(whole)) and is_grounded_date(whole, evidence)
        return dated or is_grounded_number(value, evidence)
    value = unaccented(str(value))
    text = value.strip().casefold()
    if text in evidence.text:
        return True
    if _DATE.match(text):
        return is_grounded_date(text, evidence)
    if lasting := _LASTING.fullmatch(text):
        return is_grounded_number(float(lasting[1]), evidence)
    compact = "".join(c for c in text if c.isalnum())
    if not compact or (len(compact) > 2 and compact in evidence.compact):
        return True
    content = [w for w in split_words(value) if w not in _STOP] or split_words(value)
    missed = [w for w in content if not is_grounded_word(w, evidence)]
    if len(content) <= SHORT_TEXT and any(w.isdigit() for w in missed):
        return False
    return len(missed) <= (1 - ENOUGH) * len(content)


@lru_cache(maxsize=4096)
def schema_words(tool: ToolSpec) -> dict[str, Evidence]:
    """Top parameter -> what its schema says itself; "" -> the tool's name and description."""
    own = {k: json.dumps(v, ensure_ascii=False) for k, v in properties_of(tool).items()}
    own[""] = f"{tool.name} {tool.description}"
    return {name: Evidence(text) for name, text in own.items()}


def _call_misses(call: ToolCall, tools: dict[str, ToolSpec], evidence: Evidence) -> Iterator[Any]:
    """(argument path, value or None where it is grounded) for every scalar of one call."""
    schema = schema_words(tools[call.name]) if call.name in tools else {}
    for path, value in scalars_in(call.known_args):
        own = [schema[k] for k in (path.split(".")[0], "") if k in schema]
        good = is_grounded(value, evidence) or any(is_grounded(value, e) for e in own)
        yield path, None if good else value


def check_values(row: Trajectory) -> tuple[int, list[str]]:
    """Number of argument values of all calls, and those not grounded as "tool.arg=value"."""
    return _check(row.messages, row.tools)


@lru_cache(maxsize=2048)  # the rule and, after the whole batch, the quality ask for a row
def _check(turns: tuple[Message, ...], specs: tuple[ToolSpec, ...]) -> tuple[int, list[str]]:
    tools = {t.name: t for t in specs}
    heard: list[str] = []
    count, missing = 0, []
    for message in turns:
        if message.role != "assistant":
            heard.append(message.content)
            continue
        if not message.tool_calls:
            continue
        evidence = Evidence("\n".join(heard))
        for call in message.tool_calls:
            for path, value in _call_misses(call, tools, evidence):
                count += 1
                if value is not None:
                    missing.append(f"{call.name}.{path}={str(value)[:40]}")
    return count, missing


def groundedness(row: Trajectory) -> float:
    """Share of argument values that are grounded, in [0, 1]; 1 for a row without any."""
    count, missing = check_values(row)
    return 1.0 if count == 0 else 1.0 - len(missing) / count


def ungrounded(row: Trajectory) -> str | None:
    """Rule: every argument value of every call is grounded; the first that is not is named."""
    _, missing = check_values(row)
    return f"ungrounded:{missing[0]}" if missing else None
