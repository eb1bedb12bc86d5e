"""The text of a kind, drawn in a scene: a bank's, a generator's, a code of an example's shape."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from raytune_agents.generate import descriptions
from raytune_agents.generate.codes import NoValue, is_code, shaped
from raytune_agents.generate.kind_table import banks, kind_named, matching_kind
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.scenes import GENERATORS, Scene
from raytune_agents.generate.wordlists import pattern, phrases, regex

FACILITIES = regex("facilities")


VERBS_NOT_THINGS: list[str] = phrases()["verbs_not_things"]
NO_NAMES: list[str] = phrases()["kinds_without_name"]
CODES: list[str] = phrases()["kinds_of_codes"]


@lru_cache(maxsize=4096)
def entity_kind(context: str) -> str:
    """The kind of thing that a tool makes or finds, for a parameter that is just its name."""
    context = pattern("where_to").sub(" ", context)  # where it goes
    things = re.findall(r"\b(?:an?|the) ([a-z]+)", context)
    unusual = [w for w in VERBS_NOT_THINGS if w not in things]  # "a track" is one
    words = [w for w in re.findall(r"[a-z]+", context) if w not in unusual]
    for word in [w for w in words if len(w) > 3][:8]:
        single = re.sub(r"s$", "", word)
        found, by_name = matching_kind("string", f"{single} name", "", context)
        if by_name and found not in NO_NAMES and (kind_named(found).bank or found in GENERATORS):
            return found
    return ""


UNTITLED = pattern("untitled")  # of which no title of a document is one
FILE_BANKS = ("files", "images", "audio", "videos")
PATH = re.compile(r"((?:[\w.-]*/)+)[\w-]+(\.\w{2,4})")


def like_example(scene: Scene, example: str) -> str:
    """Another value of the form of an example: in a folder of files another file of its type."""
    if path := PATH.fullmatch(example):
        bank = next((b for b in FILE_BANKS if path[2] in "".join(banks()[b])), FILE_BANKS[0])
        return f"{path[1]}{scene.pick(bank).rpartition('/')[2].rpartition('.')[0]}{path[2]}"
    return shaped(example, scene.rng)


def text_of(scene: Scene, p: Parameter) -> Any:
    """A value of a text kind. Raises NoValue."""
    kind = p.kind
    if kind == "name":
        whose = f"{p.words} {descriptions.subject_of(p.about)}"
        own_thing = not p.said or p.said in scene.context  # else of another than the tool's
        if own_thing and p.words != "label":
            whose += f" {scene.context}"
        own = re.search(FACILITIES, p.words)
        kind = "" if own else entity_kind(re.sub(r"\b(get|names?|title|label|of)\b", " ", whose))
        if not kind and (found := re.search(FACILITIES, whose)):
            return f"{scene.place('').city} {found[1].capitalize()}"
        if not kind:
            raise NoValue(f"{p.name}: nothing says whose name it is")
    if kind == "document_title" and p.words == "title" and UNTITLED.search(scene.context):
        raise NoValue(f"{p.name}: nothing says what such a thing is called")
    shown = [v for v in p.values if not re.search(r"[a-z]{3,} ", str(v))]  # no words
    codes = [v for v in shown if is_code(v) or (kind == "id" and re.search(r"\d", str(v)))]
    if codes and kind in CODES:
        return like_example(scene, str(scene.rng.choice(codes)))
    if kind in GENERATORS:
        return GENERATORS[kind](scene, p)
    bank = kind_named(kind).bank
    if kind == "branch" and not p.role and re.search(r"\b(create|new)\b", scene.context):
        return scene.rng.choice([b for b in banks()[bank] if "/" in b])  # no second "main"
    if bank in banks()["made_by"]:
        return scene.work(bank)
    if bank in ("artists", "authors"):
        scene.maker = scene.maker or scene.pick(bank)
        return scene.maker
    if bank == "files":
        form = re.search(r"\b([A-Z0-9]{2,4}) file", p.about)
        form = form or (pattern("file_type").search(scene.context) if p.role != "to" else None)
        text = re.search(r"\btext file|as text\b|line-based", scene.context)
        ending = form[1].lower() if form else "txt" if text else ""
        if p.role == "to" and "." in scene.file:  # moved, not converted
            ending = ending or scene.file.rpartition(".")[2]
        fitting = [f for f in banks()[bank] if f.endswith(f".{ending}")]
        name = scene.rng.choice(fitting) if fitting else scene.pick(bank)
        scene.file = re.sub(r"\w+$", ending, name) if ending else name
        return scene.file
    if bank:
        return scene.pick(bank)
    raise NoValue(f"{p.name}: nothing is known of its values")
