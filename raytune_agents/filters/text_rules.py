"""Rules on the words of a row: encoding, language, refusals, leaked observations, private data."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import chain

from raytune_agents.calls import parse
from raytune_agents.filters.grounding import WORDS, split_words
from raytune_agents.private import private_data
from raytune_agents.records import Trajectory

# --- mojibake ---

# what programs write to a terminal: colours and cursor moves (ECMA-48), titles; and, in what is
# seen or pasted, the bell, backspaces, form feeds, what keys send and separators, which a NUL is
_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]"
)
_UTF_16 = re.compile(r"(?:[^\x00]\x00){3}[^\x00]")  # read as bytes
_TERMINAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")


def _cp1252(byte: int) -> str:
    """The character that a byte becomes when UTF-8 is read as Windows-1252 (or Latin-1)."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


_BYTE_OF = {_cp1252(b): b for b in range(0x80, 0x100)} | {chr(b): b for b in range(0x80, 0x100)}
_TAIL = "".join(re.escape(c) for c, b in _BYTE_OF.items() if b < 0xC0)
_DOUBLE = re.compile(f"[\u00c2-\u00f4][{_TAIL}]{{1,3}}")


def broken_text(text: str, terminal: bool = False) -> str:
    """The first sign of a wrong decoding, or "".

    A replacement or control character, or two to four characters whose Windows-1252 bytes are
    one valid UTF-8 character ("Ã©" for "é", "â€™" for an apostrophe). Colours and cursor moves are
    no sign; with `terminal`, nor is what else a terminal is sent: a NUL ends what `find -print0` or
    an environment lists, but for one after each character, which is UTF-16.
    """
    if text.isascii() and text.isprintable():
        return ""
    if "\x1b" in text or "\x9b" in text:
        text = _ANSI.sub("", text)
    if terminal and not _UTF_16.search(text):
        text = _TERMINAL.sub("", text)
    if control := _CONTROL.search(text):
        return f"U+{ord(control[0]):04X}"
    for match in _DOUBLE.finditer(text):
        try:
            return bytes(_BYTE_OF[c] for c in match[0]).decode("utf-8") and match[0]
        except UnicodeDecodeError:
            continue
    return ""


def mojibake(row: Trajectory) -> str | None:
    """No turn, thought or argument text shows a wrong decoding."""
    for m in row.messages:
        for text in (m.content, m.thought, *(c.arguments for c in m.tool_calls)):
            if sign := broken_text(text, terminal=m.role in ("tool", "user")):
                return f"mojibake:{sign}"
    return None


# --- language ---

_LEXICON = {lang: frozenset(text.split()) for lang, text in WORDS["function_words"].items()}
SCRIPTS: dict[str, str] = WORDS["scripts"]
LANGUAGES = sorted({*_LEXICON, *SCRIPTS.values()})


@lru_cache(maxsize=65_536)
def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ", 1)[0]


def language_of(text: str) -> str:
    """Two-letter language by script, then by function words; "" where the text is too short.

    Kana make Chinese characters Japanese. Latin text: the language with most different function
    words, where they are at least two and twice as many as the next language has.
    """
    scripts = Counter(_script(c) for c in text[:2000] if not c.isascii() and c.isalpha())
    latin = sum(c.isascii() and c.isalpha() for c in text[:2000])
    foreign = Counter({k: n for k, n in scripts.items() if k in SCRIPTS})
    if foreign.total() > (latin + scripts.total()) / 2:
        kana = foreign["HIRAGANA"] + foreign["KATAKANA"]
        return "ja" if kana else SCRIPTS[foreign.most_common(1)[0][0]]
    present = set(split_words(text[:2000]))
    hits = sorted(((len(present & lexicon), k) for k, lexicon in _LEXICON.items()), reverse=True)
    return hits[0][1] if hits[0][0] >= max(2, 2 * hits[1][0]) else ""


def language(row: Trajectory, languages: tuple[str, ...] | list[str] = ()) -> str | None:
    """The request is in one of `languages` (empty = any); a text too short to tell passes."""
    found = language_of(row.query) if languages else ""
    return f"language:{found}" if found and found not in languages else None


# --- refusals and leaked observations ---

_REFUSAL = re.compile(
    r"\b(i(?:'m| am)? (?:sorry|afraid)|i apologi[sz]e|unfortunately|i (?:can ?not|can't|am unable|"
    r"'?m unable|don't have (?:access|the ability|the capability)|do not have (?:access|the)|"
    r"am not able|'m not able)|as an ai)\b"
)


def _fits(starts: set[str], name: str) -> bool:
    """Every word of the tool's name (longer than two letters) starts like a word of the query."""
    parts = [w[:4] for w in split_words(name) if len(w) > 2]
    return bool(parts) and starts.issuperset(parts)


def needless_refusal(row: Trajectory) -> str | None:
    """An answer that refuses although a call is right.

    Certain where `gold` names a call; else where a tool's whole name is asked for in the query. A
    refusal with no fitting tool, or with gold "[]", is what irrelevance rows teach.
    """
    target = row.target
    if target is None or target.tool_calls or row.gold == "[]" or not row.tools:
        return None
    opening = target.content[:200].casefold().replace("\u2019", "'")
    if not _REFUSAL.search(opening) or parse(target.content, row.tools).calls:
        return None
    if row.gold:
        return "needless_refusal:gold"
    starts = {w[:4] for w in split_words(row.query)}
    fitting = next((t.name for t in row.tools if _fits(starts, t.name)), None)
    return f"needless_refusal:{fitting}" if fitting else None


_OBSERVATION = re.compile(
    r"^[^\S\n]*(observation(?: \d+)?\s*:|<tool_response>|<\|?observation\|?>|"
    r"function_response\s*:)",
    re.IGNORECASE | re.MULTILINE,
)


def observation_leak(row: Trajectory, min_chars: int = 60) -> str | None:
    """No trained assistant turn writes an observation itself or quotes one that comes later.

    A quote is the whole text of a later tool turn of at least `min_chars` characters: what the
    turn could only know from the future.
    """
    for i, message in enumerate(row.messages):
        if not message.trained:
            continue
        text = f"{message.thought}\n{message.content}"
        if _OBSERVATION.search(text):
            return "observation_leak:written"
        later = (m.content.strip() for m in row.messages[i + 1 :] if m.role == "tool")
        if any(len(t) >= min_chars and t in text for t in later):
            return "observation_leak:quoted"
    return None


# --- private data ---


def pii(row: Trajectory) -> str | None:
    """No turn, thought or argument holds an e-mail address, a phone number or a number that
    `private.NUMBERS` knows."""
    parts = ((m.content, m.thought, *(c.arguments for c in m.tool_calls)) for m in row.messages)
    kind = next(filter(None, map(private_data, chain.from_iterable(parts))), "")
    return f"pii:{kind}" if kind else None
