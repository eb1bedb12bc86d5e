"""Objects that a value stands for as a whole: "two numbers", "a list of drugs", "people"."""

from __future__ import annotations

import re
from dataclasses import replace

from raytune_agents.agents.word_banks import shown
from raytune_agents.generate.actions import group_of
from raytune_agents.generate.clauses import READING, SETTERS, WHO
from raytune_agents.generate.complements import ARTICLE, Complements
from raytune_agents.generate.conditions import FIELD
from raytune_agents.generate.descriptions import UNITS
from raytune_agents.generate.forms import in_quotes, unit_words
from raytune_agents.generate.grammar import is_plural, with_article
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.nouns import DURATIONS, PERSONAL, has_range, mentions
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import compiled, pattern, phrases, regex

LOGGING = ("log", "record", "report", "enter", "post", "register")
LIST = "an? (?:list|array|series|sequence)"
WITH_PEOPLE: list[str] = phrases()["with_people"]
NAMING = ("register", "enrol", "enroll", "appoint", "nominate", "accredit")
ADDRESSEE = "(email )?address|email|subscriber|recipient|member|person|someone"
PACKS = f"(?:{regex('packs')})|(?:{regex('masses')})"
PART_PLAYED = "owner|assignee|reviewer|manager|lead|agent|approver|moderator|admin"
ADDED: list[str] = phrases()["kinds_by_name"]


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
            self.head = f"the {self.use(p)}"  # "set a field": "set the price of record 5"
        values = [p for p in self.left if p.words == "value"] if self.verb in SETTERS else []
        keys = [p for p in self.left if p.words == "key" or bare.split()[-1:] == [p.words]]
        for p in [p for p in keys if values and p.sense != FIELD][:1]:
            self.head = f"the {bare} {self.use(p)}"  # "set the variable LOG_LEVEL"
        sizes = [p for p in self.left if has_range(p) and not p.items]
        own = [p for p in sizes if p.words == bare]  # "log a weight" of 3 kg
        # "record the mileage" + kilometres
        own += [p for p in sizes if UNITS.fullmatch(p.words) and p.sense not in DURATIONS]
        what = re.fullmatch(r"what (?:is|was|were|has been) (\w+(?:ed|en))", self.head)
        things = [p for p in self.left if p.required and kind_named(p.sense).bank and not p.items]
        if own and self.verb in LOGGING and (things or not what):
            self.left.remove(own[0])
            unit = unit_words(own[0]) or (own[0].words if UNITS.fullmatch(own[0].words) else "")
            size = f"{own[0].slot} {unit}".strip()
            loose = with_article(bare, False) == bare  # "40 litres of fuel sold"
            self.head = f"{size} of {bare}" if loose else f"a {bare} of {size}"
            if what:  # "record what was harvested": "record 14 kg of harvested tomato"
                self.head = f"{size} of {what[1]} {self.use(things[0])}"
            parts = [("for" if x == "of" else x, phrase) for x, phrase in self.act.parts]
            self.act = replace(self.act, parts=tuple(parts))
        whose = re.fullmatch(r"([\w ]+)'s (.+)", bare)  # "a table's name or description"
        names = re.split(r", (?:or |and )?| or | and ", whose[2] if whose else bare)
        names = [name.removeprefix("number of ") for name in names]
        given = [p for name in names for p in self.left if name == p.words and not p.items]
        if len(names) > 1 and given and self.verb in SETTERS:
            ids = [p for p in self.left if whose and p.is_numbered and p.noun == whose[1]]
            self.left = [p for p in self.left if p not in (*given, *ids[:1])]
            of = "".join(f" of {p.noun} {p.slot}" for p in ids[:1])
            values = {p: in_quotes(p, f"{p.slot} {unit_words(p)}".strip()) for p in given}
            said = [f"the {p.noun}{'' if k else of} to {values[p]}" for k, p in enumerate(given)]
            self.head = shown(said)
            parts = [("for" if p == "of" else p, phrase) for p, phrase in self.act.parts]
            self.act = replace(self.act, head=self.head, parts=tuple(parts))

    def packed(self) -> None:
        """ "clay" -> "{bags} bags of clay" of how many there are to be, or "tonnes"."""
        bare = ARTICLE.sub("", self.head)
        loose = is_plural(bare) or bare.split()[-1] in phrases()["mass"]
        if not loose or group_of(self.verb) in (*READING, "search"):
            return
        for p in self.left:
            if re.fullmatch(PACKS, p.words) and has_range(p) and not p.items:
                self.head = f"{self.use(p)} {p.words} of {bare}"
                return

    def inputs(self) -> None:
        """ "whether the input is a domain" -> "whether {it} is a domain"."""
        if len(self.left) == 1 and re.match(r"(?:if|whether) (?:an?|the) input\b", self.head):
            (p,) = self.left
            self.left = []
            self.head = re.sub(r"\b(?:an?|the) input\b", p.slot, self.head, count=1)

    def operands(self) -> None:
        """ "two numbers" -> "{a} and {b}", "if a number is prime" -> "if {n} is prime"."""
        found = [p for p in self.left if p.sense in ("operand", "binary")]
        many = pattern("numbers").search(self.head)
        if any(re.fullmatch(LIST, phrase) for _, phrase in self.act.parts):
            return  # "the largest numbers in a list"
        kinds = r"positive |whole |single |prime |given "
        one = re.search(rf"\b(a|an|the) ({kinds})?(number|integer|value)\b", self.head)
        match = many if len(found) > 1 or (found and found[0].items) else one
        if not found or not match:
            return
        used = found if match is many else found[:1]
        self.left = [p for p in self.left if p not in used]
        slots = " and ".join(p.slot for p in used)
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
            slot = p.slot if given else ""
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
                self.head = self.head.replace(listed[0], article + p.slot)

    def whole(self) -> None:
        """ "a quantity" and "people" where a value is just that: "440", "ana@mail.com"."""
        for p in self.left:
            if text := self.alone(p, ARTICLE.sub("", self.head)):
                self.left.remove(p)
                self.head = text
                return

    def alone(self, p: Parameter, bare: str) -> str:
        """The object where a value is all of it, "" where it is not."""
        item, changes = p.items, self.verb in SETTERS
        things = item is not None and item.sense in ADDED and not self.makes
        looked_for = group_of(self.verb) in ("search", "list")
        plainly = bare.removeprefix("list of ") in (p.noun, p.words)
        if things and plainly and not (looked_for or changes):
            return p.slot  # "check a list of drugs"
        several = re.fullmatch(r"(?:one or more|several|multiple|some) (\w+)", self.head)
        if several and item is not None and several[1] in (p.words, p.noun):
            # "mute one or more tracks" by their numbers
            return f"{several[1]} {p.slot}" if p.is_numbered or item.is_number else p.slot
        same = bare in (p.noun, f"{p.noun}s") or bare.split()[:1] == [p.noun.rstrip("s")]
        if item is not None and p.is_numbered and not self.makes and same:
            return f"{bare} {p.slot}"  # "put crew on standby"
        one = item.sense if item is not None else ""
        crowd = bare == p.noun or pattern("crowd").fullmatch(bare)
        people = one in ("email", "person", "username") and crowd and not changes
        files = one in ("file", "image_file", "code_file") and pattern("several_files").search(bare)
        played = self.verb == "assign" and re.fullmatch(PART_PLAYED, bare)
        if p.sense in WHO and (played or (people and self.verb == "request")):
            return f"{p.slot} as {bare}"  # "assign an owner": "assign ana@mail.com as owner"
        doer = p.words in ("name", "full name") and pattern("doer").fullmatch(bare)
        named = self.verb in NAMING and p.sense == "person" and (bare == p.noun or doer)
        if named and not item:  # "register a bidder": "register Ana Lind as a bidder"
            return f"{p.slot} as {self.head}"
        person = p.sense in PERSONAL and self.verb in WITH_PEOPLE and mentions(bare, p)
        listed = self.act.verbs[0] in ("add", "remove") and self.act.parts and not p.role
        person = person or (listed and p.sense == "email" and re.fullmatch(ADDRESSEE, bare))
        if person and re.match(r"[\w ]+ to \w", bare):  # "a volunteer to walk a transect"
            return f"{p.slot} to {bare.partition(' to ')[2]}"
        amount = re.match(r"(how much an? )?(amount|quantity|sum|value|part|portion)$", bare)
        quantity = (amount or self.verb == "convert") and p.noun in ("value", "amount", bare)
        if ((quantity or person) and not item) or people or files:
            return f"how much {p.slot}" if bare.startswith("how") else p.slot
        return ""
