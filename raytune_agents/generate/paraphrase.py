"""How a simulated user says it: the prompts that have a turn reworded, and the rules of a wording.

A row's user turns say what the template says; a model may say it in its own way as long as every
value survives and nothing is added. In a conversation each turn is said by a persona who has just
heard the assistant, so that a goal comes out bit by bit. Asking the model is the part of `rewrite`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.agents.word_banks import leaves, shown
from raytune_agents.agents.wording import asks_how, numbers, survives
from raytune_agents.generate.wordlists import pattern, word_data
from raytune_agents.records import Trajectory, derive

PROMPTS = word_data("paraphrase")

NAME = re.compile(r"[\w./@:#-]*(?:[_/@]|\w\.\w)[\w./@:#-]*")  # of a file, a page, a user


# --- prompts --------------------------------------------------------------------------------------

SHOTS: list[tuple[str, str]] = [(request, answer) for request, answer in PROMPTS["shots"]]


def turns(row: Trajectory) -> list[int]:
    """The messages that may be said in other words: those whose values are known."""
    if row.pool.partition(".")[2] not in PROMPTS["pools"]:
        return []
    if "anchors_by_turn" in row.meta:
        return [int(i) for i in row.meta["anchors_by_turn"]]
    return [max(i for i, m in enumerate(row.messages) if m.role == "user")]


def messages(
    row: Trajectory, turn: int, shots: Sequence[tuple[str, str]] = SHOTS
) -> list[dict[str, str]]:
    """The chat that asks a small model to say one turn: who speaks, examples, what was heard, the
    template."""
    out: list[dict[str, str]] = []
    if "anchors_by_turn" in row.meta:
        persona = random.Random(row.source_id).choice(PROMPTS["personas"])
        out.append({"role": "system", "content": f"You are {persona} who talks to an assistant."})
    for request, answer in shots:
        out += [
            {"role": "user", "content": PROMPTS["ask"].format(request=request)},
            {"role": "assistant", "content": answer},
        ]
    before = row.messages[turn - 1] if turn else None
    heard = before.content if before is not None and before.role == "assistant" else ""
    transcript = PROMPTS["heard"].format(said=heard) if heard else ""
    request = PROMPTS["ask"].format(request=row.messages[turn].content)
    return [*out, {"role": "user", "content": transcript + request}]


# --- rules ----------------------------------------------------------------------------------------


def _words(text: str) -> set[str]:
    return {w for w in re.findall(r"[a-z]+", text.lower()) if len(w) > 3}


def _clean(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    first = pattern("answer_labels").sub("", lines[0]).strip() if lines else ""
    quoted = re.fullmatch(r"""(["'“])((?:(?!\1).)*)["'”]""", first)
    return quoted[2].strip() if quoted else first


def _added(row: Trajectory, old: str, text: str) -> str:
    """A number, a name such as a file or address, or an enum value that the new wording has and
    the old one has not, or ''."""
    new = numbers(text) - numbers(old)
    if new:
        return f"{min(new):g}"
    for name in (n.strip(".:").lower() for n in NAME.findall(text)):
        if name not in old.lower():
            return name
    called = {c.name for c in row.calls} | {row.meta.get("near")}
    enums = [
        v
        for t in row.tools
        if t.name in called
        for p in t.schema.get("properties", {}).values()
        for v in [*p.get("enum", []), *p.get("items", {}).get("enum", [])]
        if isinstance(v, str)
    ]
    return next((v for v in enums if survives(v, text) and not survives(v, old)), "")


def _reordered(row: Trajectory, old: str, text: str) -> bool:
    """Whether values that could be taken for each other have changed their order.

    These are free texts or numbers of one type in one call, and all values of several calls.
    """
    schemas = {t.name: t.schema.get("properties", {}) for t in row.tools}
    groups: dict[Any, list[str]] = {}
    for call in row.calls:
        for name, item in call.args.items():
            schema = schemas.get(call.name, {}).get(name, {})
            if isinstance(item, bool) or (schema.get("enum") and len(row.calls) == 1):
                continue
            kind = "all" if len(row.calls) > 1 else (schema.get("type"), schema.get("format"))
            groups.setdefault(str(kind), []).append(shown(item).lower())
    old, new = old.lower(), text.lower()
    return any(
        len(set(group)) > 1 and sorted(group, key=old.find) != sorted(group, key=new.find)
        for group in groups.values()
    )


def anchors(row: Trajectory, turn: int | None = None) -> list[str]:
    """What a turn of this row must say: its own values, the row's anchors, or else every value
    called with."""
    known = row.meta.get("anchors_by_turn", {}).get(str(turn)) or row.meta.get("anchors")
    values = known.values() if known else [leaf for c in row.calls for leaf in leaves(c.args)]
    return [shown(v) for v in values if not isinstance(v, bool) and v is not None]


def fault(row: Trajectory, turn: int, text: str) -> str:
    """Why `text` may not stand for the turn's wording, or "".

    Reasons: empty, call_syntax, reply, length, identical, lost:VALUE, added:VALUE, reordered,
    intent (a request became a question of how it is done, or the reverse), negation, drifted.
    """
    old, values = row.messages[turn].content, anchors(row, turn)
    lost = next((a for a in values if not survives(a, text)), None)
    count, before = len(text.split()), len(old.split())
    own = _words(old) - _words(" ".join(values))
    answer = turn > 0 and before < 8  # "Use chrome." has hardly a word that could stay
    checks = {
        "empty": not text,
        "call_syntax": any(s in text and s not in old for s in PROMPTS["call_syntax"]),
        "reply": bool(pattern("replies").match(text)) and not pattern("replies").match(old),
        "length": not max(min(3, before), before // 2) <= count <= 2 * before + 8,
        "identical": re.sub(r"\W+", " ", text).strip().lower()
        == re.sub(r"\W+", " ", old).strip().lower(),
        f"lost:{lost}": lost is not None,
        f"added:{_added(row, old, text)}": bool(_added(row, old, text)),
        "reordered": lost is None and _reordered(row, old, text),
        "intent": asks_how(text) != asks_how(old),
        "negation": len(pattern("negation").findall(text)) > len(pattern("negation").findall(old)),
        "drifted": bool(own) and not answer and len(own & _words(text)) < 0.2 * len(own),
    }
    return next((name for name, failed in checks.items() if failed), "")


def reworded(row: Trajectory, texts: Mapping[int, str]) -> Trajectory:
    """The row with the model's wording of some turns; the templates stay in meta."""
    turned = tuple(
        replace(m, content=texts[i]) if i in texts else m for i, m in enumerate(row.messages)
    )
    old: Any = {str(i): row.messages[i].content for i in texts}
    old = old if "anchors_by_turn" in row.meta else next(iter(old.values()))
    meta = row.meta | {"wording": "paraphrase", "template": old}
    return derive(row, messages=turned, meta=meta, outcome=row.outcome)


def first_good(row: Trajectory, turn: int, texts: Sequence[str]) -> tuple[str, str]:
    """The first of some candidates that may stand for the turn: (text, ""), or ("", why not)."""
    why = "empty"
    for text in map(_clean, texts):
        why = fault(row, turn, text)
        if not why:
            return text, ""
    return "", why
