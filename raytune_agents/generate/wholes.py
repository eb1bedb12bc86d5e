"""Objects that a value stands for as a whole: "two numbers", "a list of drugs", "people"."""

from __future__ import annotations

import re
from dataclasses import replace

from raytune_agents.agents.word_banks import shown
from raytune_agents.generate.actions import verb_groups
from raytune_agents.generate.clauses import READING, SETTERS, WHO
from raytune_agents.generate.complements import ARTICLE, Complements
from raytune_agents.generate.conditions import FIELD
from raytune_agents.generate.descriptions import UNITS, json_type
from raytune_agents.generate.forms import unit_words
from raytune_agents.generate.grammar import is_plural, with_article
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.nouns import (
    CROWD,
    DURATIONS,
    FILES,
    PERSONAL,
    is_numbered,
    mentions,
    slot_of,
)
from raytune_agents.generate.wordlists import compiled, phrases, regex

LOGGING = ("log", "record", "report", "enter", "post", "register")
LIST = "an? (?:list|array|series|sequence)"
WITH_PEOPLE = (
    "assign",
    "invite",
    "notify",
    "email",
    "call",
    "message",
    "text",
    "appoint",
    "log in",
)
NAMING = ("register", "enrol", "enroll", "appoint", "nominate", "accredit")
ADDRESSEE = "(email )?address|email|subscriber|recipient|member|person|someone"
PACKS = f"(?:{regex('packs')})|(?:{regex('masses')})"
DOER = regex("doer")
PART_PLAYED = "owner|assignee|reviewer|manager|lead|agent|approver|moderator|admin"
ADDED = (
    "product",
    "dish",
    "ingredient",
    "drink",
    "medication",
    "song",
    "album",
    "artist",
    "book",
    "movie",
)


class Wholes(Complements):
    """The object of a wish while values take the place of all of it."""

    def wholes(self) -> None:
        """All of them, one after the other."""
        self.packed()
        self.letters_of()
        self.lists_of()
        self.operands()
        self.alternatives()
        self.inputs()
        self.whole()

    def settings(self) -> None:
        """ "brightness or contrast" -> "the contrast to {contrast}" of what is set."""
        bare = ARTICLE.sub("", self.head)
        for p in [p for p in self.left if p.sense == FIELD and p.words == bare]:
            self.left.remove(p)  # "set a field of a record": "set the price of record 5"
            self.head = f"the {slot_of(p)}"
        values = [p for p in self.left if p.words == "value"] if self.verb in SETTERS else []
        keys = [p for p in self.left if p.words == "key" or bare.split()[-1:] == [p.words]]
        for p in [p for p in keys if values and p.sense != FIELD][:1]:
            self.left.remove(p)  # "set the variable LOG_LEVEL", "the game rule pvp"
            self.head = f"the {bare} {slot_of(p)}"
        sizes = [p for p in self.left if kind_named(p.sense).range and not p.items]
        own = [p for p in sizes if p.words == bare]  # "log a weight" of 3 kg
        # "record the mileage" + kilometres
        own += [p for p in sizes if UNITS.fullmatch(p.words) and p.sense not in DURATIONS]
        what = re.fullmatch(r"what (?:is|was|were|has been) (\w+(?:ed|en))", self.head)
        things = [p for p in self.left if p.required and kind_named(p.sense).bank and not p.items]
        if own and self.verb in LOGGING and (things or not what):
            self.left.remove(own[0])
            unit = unit_words(own[0]) or (own[0].words if UNITS.fullmatch(own[0].words) else "")
            size = f"{slot_of(own[0])} {unit}".strip()
            loose = with_article(bare, False) == bare  # "40 litres of fuel sold"
            self.head = f"{size} of {bare}" if loose else f"a {bare} of {size}"
            if what:  # "record what was harvested": "record 14 kg of harvested tomato"
                self.left.remove(things[0])
                self.head = f"{size} of {what[1]} {slot_of(things[0])}"
            parts = [("for" if x == "of" else x, phrase) for x, phrase in self.act.parts]
            self.act = replace(self.act, parts=tuple(parts))
        whose = re.fullmatch(r"([\w ]+)'s (.+)", bare)  # "a table's name or description"
        names = re.split(r", (?:or |and )?| or | and ", whose[2] if whose else bare)
        names = [name.removeprefix("number of ") for name in names]
        given = [p for name in names for p in self.left if name == p.words and not p.items]
        if len(names) > 1 and given and self.verb in SETTERS:
            ids = [p for p in self.left if whose and is_numbered(p) and p.noun == whose[1]]
            self.left = [p for p in self.left if p not in (*given, *ids[:1])]
            of = "".join(f" of {p.noun} {slot_of(p)}" for p in ids[:1])
            values = {p: f"{slot_of(p)} {unit_words(p)}".strip() for p in given}
            values |= {p: f'"{slot_of(p)}"' for p in given if p.sense == "description"}
            said = [f"the {p.noun}{'' if k else of} to {values[p]}" for k, p in enumerate(given)]
            self.head = shown(said)
            parts = [("for" if p == "of" else p, phrase) for p, phrase in self.act.parts]
            self.act = replace(self.act, head=self.head, parts=tuple(parts))

    def packed(self) -> None:
        """ "clay" -> "{bags} bags of clay" of how many there are to be, or "tonnes"."""
        bare = ARTICLE.sub("", self.head)
        loose = is_plural(bare) or bare.split()[-1] in phrases()["mass"]
        if not loose or verb_groups().get(self.verb) in (*READING, "search"):
            return
        for p in self.left:
            if re.fullmatch(PACKS, p.words) and kind_named(p.sense).range and not p.items:
                self.left.remove(p)
                self.head = f"{slot_of(p)} {p.words} of {bare}"
                return

    def inputs(self) -> None:
        """ "whether the input is a domain" -> "whether {it} is a domain"."""
        if len(self.left) == 1 and re.match(r"(?:if|whether) (?:an?|the) input\b", self.head):
            (p,) = self.left
            self.left = []
            self.head = re.sub(r"\b(?:an?|the) input\b", slot_of(p), self.head, count=1)

    def operands(self) -> None:
        """ "two numbers" -> "{a} and {b}", "if a number is prime" -> "if {n} is prime"."""
        found = [p for p in self.left if p.sense in ("operand", "binary")]
        many = re.search(
            r"\b(the |two |these |a list of |list of )*(binary )?(numbers|integers|values)\b",
            self.head,
        )
        if any(re.fullmatch(LIST, phrase) for _, phrase in self.act.parts):
            return  # "the largest numbers in a list"
        kinds = r"positive |whole |single |prime |given "
        one = re.search(rf"\b(a|an|the) ({kinds})?(number|integer|value)\b", self.head)
        match = many if len(found) > 1 or (found and found[0].items) else one
        if not found or not match:
            return
        used = found if match is many else found[:1]
        self.left = [p for p in self.left if p not in used]
        slots = " and ".join(map(slot_of, used))
        if used[0].items or used[0].sense == "binary":  # "sort the numbers 3, 9 and 7"
            slots = (
                f"the {(match[2] or '') + match[3] if match is many else 'binary number'} {slots}"
            )
        self.head = self.head[: match.start()] + slots + self.head[match.end() :]

    def letters_of(self) -> None:
        """ "the first n numbers" -> "the first {n} numbers", "the nth one" -> "the {n}th one"."""
        for p in (*self.left, *self.absent):
            if not re.fullmatch("[b-hj-z]", p.name) or p.items:
                continue
            letter = re.compile(rf"(?<![\w'’]){p.name}(?=(?:th)? \w)")
            texts = (self.head, *(phrase for _, phrase in self.act.parts))
            if not any(map(letter.search, texts)):
                continue
            given = p in self.left
            slot = slot_of(p) if given else ""
            self.head = " ".join(letter.sub(slot, self.head).split())
            parts = [
                (x, " ".join(letter.sub(slot, phrase).split())) for x, phrase in self.act.parts
            ]
            self.act = replace(self.act, parts=tuple(parts))
            if given:
                self.left.remove(p)

    def lists_of(self) -> None:
        """ "of a list of numbers" -> "of the numbers", where they are said."""
        lists = [p for p in self.left if p.items is not None]
        parts: list[tuple[str, str]] = []
        for preposition, phrase in self.act.parts:
            of_list = parts and preposition == "of" and re.fullmatch(LIST, parts[-1][1])
            if of_list and any(mentions(phrase, p) for p in lists):
                preposition, phrase = parts.pop()[0], f"the {phrase}"
            parts.append((preposition, phrase))
        self.act = replace(self.act, parts=tuple(parts))

    def alternatives(self) -> None:
        """ "who can view or edit a page" -> "who can {operation} a page" of a choice of these."""
        for p in [p for p in self.left if p.kind == "choice" and len(p.values) > 1]:
            one = rf"(?:an? )?(?:{'|'.join(re.escape(str(v).lower()) for v in p.values)})"
            listed = compiled(rf"\b{one}(?:, {one})*,? or {one}\b").search(self.head)
            if listed:
                self.left.remove(p)
                article = "a " if re.match("an? ", listed[0]) else ""
                self.head = self.head.replace(listed[0], article + slot_of(p))

    def whole(self) -> None:
        """ "a quantity" and "people" where a value is just that: "440", "ana@mail.com"."""
        bare = ARTICLE.sub("", self.head)
        for p in list(self.left):
            amount = re.match(r"(how much an? )?(amount|quantity|sum|value|part|portion)$", bare)
            crowd_ids = p.items is not None and is_numbered(p) and not self.makes
            things = p.items is not None and p.items.sense in ADDED and not self.makes
            looked_for = verb_groups().get(self.verb) in ("search", "list")
            plainly = bare.removeprefix("list of ")
            if things and plainly in (p.noun, p.words) and not (looked_for or self.verb in SETTERS):
                self.left.remove(p)  # "check a list of drugs"
                self.head = slot_of(p)
                return
            several = re.fullmatch(r"(?:one or more|several|multiple|some) (\w+)", self.head)
            if several and p.items is not None and several[1] in (p.words, p.noun):
                self.left.remove(p)  # "mute one or more tracks" by their numbers
                coded = is_numbered(p) or json_type(p.items.detail) in ("integer", "number")
                self.head = f"{several[1]} {slot_of(p)}" if coded else slot_of(p)
                return
            same = bare in (p.noun, f"{p.noun}s") or bare.split()[:1] == [p.noun.rstrip("s")]
            if crowd_ids and same:  # "put crew on standby"
                self.left.remove(p)
                self.head = f"{bare} {slot_of(p)}"
                return
            quantity = (amount or self.verb == "convert") and p.noun in ("value", "amount", bare)
            one = p.items.sense if p.items is not None else ""
            crowd = bare == p.noun or compiled(CROWD).fullmatch(bare)
            people = one in ("email", "person", "username") and crowd
            people = people and self.verb not in SETTERS
            files = one in ("file", "image_file", "code_file") and re.search(FILES, bare)
            played = self.verb == "assign" and re.fullmatch(PART_PLAYED, bare)
            if p.sense in WHO and (played or (people and self.verb == "request")):
                self.left.remove(p)  # "assign an owner": "assign ana@mail.com as owner"
                self.head = f"{slot_of(p)} as {bare}"
                return
            person_of = bare == p.noun or (
                p.words in ("name", "full name") and re.fullmatch(DOER, bare)
            )
            if self.verb in NAMING and p.sense == "person" and person_of and not p.items:
                self.left.remove(p)  # "register a bidder": "register Ana Lind as a bidder"
                self.head = f"{slot_of(p)} as {self.head}"
                return
            person = p.sense in PERSONAL and self.verb in WITH_PEOPLE and mentions(bare, p)
            listed = self.act.verbs[0] in ("add", "remove") and self.act.parts and not p.role
            person = person or (listed and p.sense == "email" and re.fullmatch(ADDRESSEE, bare))
            if person and re.match(r"[\w ]+ to \w", bare):  # "a volunteer to walk a transect"
                self.left.remove(p)
                self.head = f"{slot_of(p)} to {bare.partition(' to ')[2]}"
                return
            if ((quantity or person) and not p.items) or people or files:
                self.left.remove(p)
                self.head = f"how much {slot_of(p)}" if bare.startswith("how") else slot_of(p)
                return
