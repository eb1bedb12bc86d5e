"""How a switch joins a sentence: "including tax", "(not public)", "and notify the owner"."""

from __future__ import annotations

import re

from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.descriptions import KNOWN_WORDS
from raytune_agents.generate.grammar import PREPOSITIONS, is_plural, with_article
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import phrases


def _described(p: Parameter) -> str:
    """What a switch with an abbreviated name does, as its description says it: "copy the project
    manager" for cc_pm; "" for any other."""
    told = re.fullmatch(r"(\w+) (?:the |an? |all |it |them )[a-z -]+", p.about.lower().rstrip("."))
    short = any(w not in KNOWN_WORDS for w in p.words.split())
    if told and told[1] == p.words:  # the verb alone: "announce"
        return told[0]
    return told[0] if told and short and base_verb(told[1]) == told[1] else ""


def flag_clause(p: Parameter, value: bool) -> str:
    """The words for a boolean that is given."""
    if done := _described(p):
        return f"and {done}" if value else f"and don't {done}"
    words = re.sub(
        r"^(is|should|do|be|set|use|enable|enabled|with|include|includes|including|has|have|"
        r"allow|add|wants?|needs?|requires?|show|return|get)\s+",
        "",
        p.words,
    )
    words = re.sub(r"\s+(included|enabled|flag)$", "", words) or p.words
    negated = "" if value else "not "
    if direction := re.fullmatch(r"(?:sort(?:ed)? )?(ascending|descending)(?: order)?", words):
        other = {"ascending": "descending", "descending": "ascending"}[direction[1]]
        return f"in {direction[1] if value else other} order"
    ordered = re.fullmatch(r"(\w+) (next|first|now|later|again|out|in|off|down|up|back)", words)
    if ordered and base_verb(ordered[1]) == ordered[1]:  # "play next", "fade out"
        it = "" if ordered[2] in ("out", "in", "off", "back") else " it"
        return f"and {'' if value else 'do not '}{ordered[1]}{it} {ordered[2]}"
    if able := re.fullmatch(r"can (\w[\w ]*)", words):  # "can edit"
        return f"({'can' if value else 'cannot'} {able[1]})"
    if marked := re.fullmatch(r"mark (?:as )?(\w+)", words):
        return f"and {'mark' if value else 'do not mark'} it as {marked[1]}"
    if re.match(rf"(?:{PREPOSITIONS}) \w", words):
        return f"({negated}{words})"  # "on view"
    if found := re.fullmatch(r"(.+) (allowed|required|needed)", words):
        return f"({found[1]} {negated}{found[2]})"
    if found := re.fullmatch(r"(.+) only|only (.+)", words):
        ones = "" if found[1] or is_plural(found[2]) else " ones"
        return f"({negated}{words})" if found[1] else f"({negated}only {found[2]}{ones})"
    # "include comments", "needs parking"
    said = re.match(r"(includ\w+|with|has|have|needs?|requires?|wants?) \w", p.words)
    if base_verb(words.split()[0]) and not said and words not in ("draft", "return", "open now"):
        noun = words.split()[0] in phrases()["nouns_too"]  # "gift wrap"
        if len(words.split()) > 1 and not noun:
            verb, thing = words.split(maxsplit=1)
            whole = re.search(rf"^({PREPOSITIONS})\b|(ing|ed|ly|now|again|later)$", thing)
            thing = thing if whole else with_article(thing, not is_plural(thing))
            return f"and {verb} {thing}" if value else f"and don't {verb} {thing}"
        if not noun:
            return f"and {words} it" if value else f"and don't {words} it"
    if re.match(r"includ(e|ing) (\w+ed|partial|inactive|empty|hidden|private|internal)$", p.words):
        words += " ones"  # "archived"
    if re.search(r"\b(include|includes|including|with|included|add)\b", p.words):
        return f"{'including' if value else 'without'} {words}"
    if re.search(
        r"^(is |be )|^non \w|(ed|able|ible|al|ic|ive|ful|ous|ate|en|open|new|public|private|active|"
        r"urgent|overdue|paid|sent|sold|free|direct|recursive|verbose|async|silent|hidden|secure|mpt|"
        r"permanent|first time|now|ok|okay|inside|outside|indoors|outdoors|abroad|together|alone)$|"
        rf"^\w{{3,}}ed (?:{PREPOSITIONS}) |^never \w",
        p.words,
    ):
        return f"({negated}{re.sub('^non ', 'non-', words)})"
    if words in ("everything", "all"):
        return f"({negated}{words})"
    if words == "value":
        return f"to {'true' if value else 'false'}"
    if re.search(r"\b(run|draft|preview|test|backup|gift)$", words):
        return f"{negated}as a {words}"
    return f"{'with' if value else 'without'} {words}"
