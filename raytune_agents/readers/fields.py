"""What sources call the same thing, and which fields of theirs nothing reads.

A `Fields` is one object of a source (a row, turn, part, call or tool). It is asked by meaning: the
names that field goes by, the usual one first; case, `_` and `-` do not count, so `toolCalls` is
`tool_calls`. What was never asked for is unread: it is noted with an example, so that no loss of
information is silent.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from raytune_agents.records import JsonObject, RecordError
from raytune_agents.redact import SECRET_FIELD
from raytune_agents.storage import yaml_beside

Part = TypeVar("Part")
Made = TypeVar("Made")

# thing -> what sources call it
WORDS = yaml_beside(__file__, "names.yaml")


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A name without case and separators: `tool_calls`, `toolCalls` and `tool-calls` are one."""
    return "".join(c for c in name.lower() if c.isalnum()) or name


def words_of(thing: str) -> tuple[str, ...]:
    """The words of a thing in `names.yaml`."""
    return tuple(WORDS[thing].split())


def meanings_of(table: str) -> dict[str, str]:
    """Word -> what it stands for, of a table of things in `names.yaml`."""
    return {word: thing for thing, words in WORDS[table].items() for word in words.split()}


_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@lru_cache(maxsize=4096)
def words_in(name: str) -> frozenset[str]:
    """The words that a name is made of: `isCorrect` and `is_correct` are "is" and "correct"."""
    return frozenset(word.lower() for word in _WORD.findall(name))


class Names:
    """What one thing is called, the usual name first: names with blanks between them."""

    def __init__(self, *texts: str) -> None:
        self.folded = tuple(dict.fromkeys(fold(word) for text in texts for word in text.split()))
        self.every = frozenset(self.folded)

    def __add__(self, other: Names) -> Names:
        return Names(*self.folded, *other.folded)


def names_of(*things: str) -> Names:
    """What sources call these things, by `names.yaml`."""
    return Names(*(WORDS[thing] for thing in things))


MOST_UNREAD = 40  # fields noted of one row: a hostile row may have a million
EXAMPLE = 60  # characters of an unread field's example


@lru_cache(maxsize=512)
def _names(words: tuple[str, ...]) -> Names:
    return Names(*map(fold, words))


@lru_cache(maxsize=4096)  # the objects of a source have the same keys
def _layout(keys: tuple[Any, ...]) -> tuple[tuple[str, Any], ...]:
    """(folded name, key) of an object's keys; of two that fold to one name the first comes last,
    and so stays in a dict of them."""
    return tuple((fold(str(key)), key) for key in reversed(keys))


class AccessedRow(dict[str, Any]):
    """A row that remembers which of its fields a user's own reader asked for."""

    def __init__(self, row: JsonObject) -> None:
        super().__init__(row)
        self.accessed: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.accessed.add(key)
        return super().__getitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        self.accessed.add(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self.accessed.update(super().keys())
        return super().__iter__()

    # these ask for keys and values by the methods above, as those of a dict do not
    get, items, values = Mapping.get, Mapping.items, Mapping.values  # type: ignore[assignment]

    def note_unread(self) -> None:
        for key in super().keys() - self.accessed:
            note(str(key), super().__getitem__(key))


def blank(value: Any) -> bool:
    """Whether a value says nothing: null, empty text, an empty list or object, or one of nulls
    alone, which a table gives a row that has none."""
    if isinstance(value, dict | list):
        return all(map(is_null, value.values() if isinstance(value, dict) else value))
    return value is None or value == ""


def is_null(value: Any) -> bool:
    """Whether a value is null, or a struct of nulls alone, which some tables put for it."""
    return value is None or (isinstance(value, dict) and bool(value) and blank(value))


def object_of(value: Any) -> JsonObject:
    """The value where it is an object, else {}."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value where it is a list, else []."""
    return value if isinstance(value, list) else []


def items_of(value: Any) -> list[Any]:
    """The items of a list; of anything else itself alone."""
    return value if isinstance(value, list) else [value]


def objects_among(value: Any) -> list[JsonObject]:
    """The items of a list that are objects; [] for anything else."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def first_object(value: Any) -> JsonObject:
    """The first item of a list where it is an object, else {}."""
    return object_of(next(iter(as_list(value)), None))


class Fields:
    """One object of a source; `path` says what it is in a note about what is unread."""

    def __init__(self, item: JsonObject, path: str = "") -> None:
        self.item, self.path = item, path
        self.kept: set[str] = set()
        # nulls are what tables put for "none"
        named = _layout(tuple(item))
        self.left: dict[str, Any] = {name: k for name, k in named if item[k] is not None}

    def __call__(self, *names: Names | str) -> Any:
        """The first of the names that holds something, else the first that is there ("", [], {}),
        else None. A field that was asked for is read."""
        return self.pair(*names)[1]

    def pair(self, *names: Names | str) -> tuple[str, Any]:
        """`__call__` with the name that the source uses, "" where there is none."""
        found: tuple[str, Any] = ("", None)
        for name in self.have(*names):
            key = self.left.pop(name)
            value = self.item[key]
            if not blank(value):
                return key, value
            found = found if found[0] else (key, value)
        return found

    def peek(self, *names: Names | str) -> Any:
        """The value as `__call__` finds it; the field stays unread."""
        for name in self.have(*names):
            if not blank(value := self.item[self.left[name]]):
                return value
        return None

    def have(self, *names: Names | str) -> list[str]:
        """Those of the names, folded, that are there, unread."""
        first = names[0]
        wanted = first if isinstance(first, Names) else _names(names)
        if wanted.every.isdisjoint(self.left):
            return []
        return [name for name in wanted.folded if name in self.left]

    def rest(self, *aside: Names | str) -> JsonObject:
        """What nothing has asked for, which is noted, but what is `aside`: that says nothing."""
        if aside:
            self.skip(*aside)
        if not self.left:
            return {}
        unread = set(self.left.values())
        out = {key: value for key, value in self.item.items() if key in unread}
        for key, value in out.items():
            if key not in self.kept:
                note(f"{self.path}.{key}" if self.path else str(key), value)
        return out

    def keep(self, name: str) -> None:
        """Take a field as read that stays in the `rest`."""
        self.kept.add(self.left[name])

    def skip(self, *names: Names | str) -> None:
        """Take fields as read that say nothing: what their object is, where it stood."""
        for name in self.have(*names):
            del self.left[name]


# --- what nothing reads ---

_NOTES = threading.local()


def short(value: Any) -> str:
    """The beginning of a value as text; of an object its keys: cheap, however large it is."""
    if isinstance(value, dict):
        return "{" + ", ".join(str(k)[:20] for k in list(value)[:4]) + "}"
    if isinstance(value, list):
        return f"[{short(value[0])[:EXAMPLE]}, ...]" if value else "[]"
    text = value[:EXAMPLE] if isinstance(value, str) else str(value)[:EXAMPLE]
    return text.encode("utf-8", "backslashreplace").decode()


def note(field: str, value: Any) -> None:
    """Say that nothing reads a field. Outside `unread_fields` nothing happens."""
    found = getattr(_NOTES, "found", None)
    if found is not None and not blank(value) and len(found) < MOST_UNREAD:
        secret = SECRET_FIELD.search(field) is not None
        found.setdefault(short(field), "[secret]" if secret else short(value))


def readable(read: Callable[[Part], Made], parts: Iterable[Part]) -> list[Made]:
    """What is read of conversations that stand side by side: one that cannot be read, as for a
    picture, costs itself and is noted. Raises RecordError where none is left."""
    found: list[Made] = []
    reasons: list[RecordError] = []
    for part in parts:
        try:
            found.append(read(part))
        except RecordError as error:
            note("conversation", str(error))
            reasons.append(error)
    if reasons and not found:
        raise reasons[0]
    return found


def readable_start(
    read: Callable[[list[Part]], Made], items: list[Part], one: Callable[[Part], object]
) -> tuple[Made, str]:
    """What is read of a conversation's items up to the first that cannot be read by itself, as a
    picture, and the reason: answers to that cannot be learned without it. Raises RecordError where
    each can be read, and all together cannot."""
    try:
        return read(items), ""
    except RecordError as error:
        for n, item in enumerate(items):
            try:
                one(item)
            except RecordError:
                note("turn", str(error))
                return read(items[:n]), str(error)
        raise


@contextmanager
def unread_fields() -> Iterator[dict[str, str]]:
    """Collects field -> example of all that is noted inside."""
    before = getattr(_NOTES, "found", None)
    found: dict[str, str] = {}
    _NOTES.found = found
    try:
        yield found
    finally:
        _NOTES.found = before


def note_rest(item: JsonObject, path: str, used: Names) -> None:
    """Note the fields of a part of a row that its reader does not use."""
    for key, value in item.items():
        if fold(str(key)) not in used.every:
            note(f"{path}.{key}", value)
