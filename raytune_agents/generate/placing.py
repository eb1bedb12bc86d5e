"""Where a value stands inside the object of a wish: "the weather for a city" -> "... for Lisbon".

A description speaks of its parameters: as its object ("cancel a booking"), as an object's
complement ("the status of an order"), as its kind ("a room" + room_type). Such a value stands right
there; what is left over becomes a clause of its own in `templates`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from raytune_agents.generate.actions import DROPPED, SYSTEM, Action, is_plural, verb_groups
from raytune_agents.generate.clauses import SETTERS, clause_of
from raytune_agents.generate.codes import is_code
from raytune_agents.generate.kinds import Parameter, kind_named
from raytune_agents.generate.nouns import (
    AFTERWARDS,
    BEFORE_NOUN,
    CROWD,
    DURATIONS,
    FILES,
    ITSELF,
    KINDLY,
    NAMES,
    NUMBERED,
    SPEAKS,
    TITLED,
)

_ARTICLE = re.compile(r"^(a|an|the|my|one|another|this|some)\s+")


def slot_of(p: Parameter) -> str:
    """The place of a value in a text."""
    return "{" + p.name + "}"


def is_numbered(p: Parameter) -> bool:
    """Whether a value tells which one it is, after its noun: "drone HAWK-2"."""
    codes = not p.kind and bool(p.values) and all(is_code(v) for v in p.values)
    return p.sense in NUMBERED or codes


def is_coded(p: Parameter) -> bool:
    """Whether a choice is between codes, which say nothing without their noun: "zone B"."""
    coded = (len(str(v)) <= 2 or re.search(r"\d", str(v)) for v in p.values)
    return p.kind == "choice" and bool(p.values) and all(coded)


def mentions(phrase: str, p: Parameter) -> bool:
    """Whether a noun phrase speaks of a parameter."""
    words = set(re.findall(r"[a-z]+", phrase.lower()))
    measured = re.sub(r"(?<=\w)\s+(km|kg|cm|mm|m|miles|usd|eur|gb|mb)$", "", p.noun)
    own = set(measured.split()[-1:]) - {"name", "number", "code", "type", "new", "title", "text"}
    singular = {re.sub(r"(?<=\w\w)s$", "", w) for w in words}
    speaks = SPEAKS.get(p.sense)
    return bool((words | singular) & own) or bool(
        speaks and re.search(rf"\b({speaks})s?$", phrase.lower())
    )


class Placing:
    """The object of a wish while values are put into it; `left` are the parameters still to say."""

    def __init__(
        self, act: Action, present: Sequence[Parameter], absent: Sequence[Parameter], verb: str
    ):
        self.act, self.present, self.absent, self.verb = act, present, absent, verb
        self.left = list(present)
        self.head = act.head
        self.first: Parameter | None = None  # the object's own value
        self.makes = verb_groups().get(act.verbs[0]) in ("create", "add", "generate")

    @property
    def query(self) -> Parameter | None:
        """The text that is searched for, while it is not said."""
        return next((p for p in self.left if p.sense == "query" and not p.items), None)

    def body(self, rng: random.Random) -> str:
        """The object with its values."""
        self.operands()
        self.whole()
        if self.makes and is_plural(self.head) and self.head.startswith("the "):
            self.head = "a " + self.head[4:].removesuffix("s")
        own = self.first = self.own() or self.sole_id()
        kept = [text for part in self.act.parts if (text := self.part(*part))]
        if own is not None and own in self.left:
            self.place(own)
        elif own is None:
            self.head = self.owned(self.head)
            self.inside()
        self.head = self.adjectives(self.head)
        for p in [p for p in self.left if p.sense in NAMES and not p.items][:1]:
            noun = self.head.split()[-1:] if self.head else []
            if self.verb in SETTERS:
                continue
            if not self.makes and p.noun.split()[-1:] == noun:  # "export the dashboard X"
                self.left.remove(p)
                self.head = f"the {_ARTICLE.sub('', self.head)} {slot_of(p)}"
            elif p.role != "to":  # 'add a member named "Ana" to the team'
                self.left.remove(p)
                self.head += " " + clause_of(p, "", rng)
        return " ".join([self.head, *kept]).strip()

    def operands(self) -> None:
        """ "two numbers" -> "{a} and {b}", "if a number is prime" -> "if {n} is prime"."""
        found = [p for p in self.left if p.sense == "operand"]
        many = re.search(
            r"\b(the |two |these |a list of |list of )*(numbers|integers|values)\b", self.head
        )
        kinds = r"positive |whole |single |prime |given "
        one = re.search(rf"\b(a|an|the) ({kinds})?(number|integer|value)\b", self.head)
        match = many if len(found) > 1 or (found and found[0].items) else one
        if not found or not match:
            return
        used = found if match is many else found[:1]
        self.left = [p for p in self.left if p not in used]
        slots = " and ".join(map(slot_of, used))
        self.head = self.head[: match.start()] + slots + self.head[match.end() :]

    def whole(self) -> None:
        """ "a quantity" and "people" where a value is just that: "440", "ana@mail.com"."""
        bare = _ARTICLE.sub("", self.head)
        for p in list(self.left):
            quantity = bare in ("quantity", "amount", "value") and p.noun in ("value", bare)
            one = p.items.sense if p.items is not None else ""
            people = one in ("email", "person", "username") and re.fullmatch(CROWD, bare)
            files = one in ("file", "image_file", "code_file") and re.search(FILES, bare)
            if quantity or people or files:
                self.left.remove(p)
                self.head = slot_of(p)
                return

    def own(self) -> Parameter | None:
        """The parameter that is the object itself, or says which one it is."""
        noun = self.head.split()[-1].lower() if self.head else ""
        if not noun:
            return None
        if is_plural(self.head):  # "move files" + one path
            if not re.search(r"\b(files|documents|directories|folders)$", self.head):
                return None
            return next(
                (
                    p
                    for p in self.left
                    if p.sense in ("file", "folder") and not p.items and p.role in ("", "from")
                ),
                None,
            )
        kinds = (*NUMBERED, *ITSELF)
        for p in self.left:
            quoted = not p.kind and p.noun.split()[-1:] == [noun] and not self.makes
            itself = quoted or p.sense in kinds or is_numbered(p) or TITLED.match(p.sense)
            if p.items or not (itself or p.kind == "choice"):
                continue
            if p.kind == "choice" and not itself:
                definite = self.head.startswith("the ") and not is_coded(p)
                same = p.noun.split()[-1:] == [noun]
                if same and self.verb not in SETTERS and not p.role and not definite:
                    return p  # "order a meal" + meal=lunch
                continue
            if noun in p.noun.split() or mentions(noun, p):
                return p
        return None

    def inside(self) -> None:
        """Put an id where the object speaks of it: "what a bin holds" -> "what bin A-1 holds"."""
        for p in self.left:
            named = p.sense == "name"
            if p.items or not (is_numbered(p) or is_coded(p) or named) or not p.noun:
                continue
            noun = re.escape(p.noun.split()[-1])
            found = re.search(rf"\b(?:an?|the|one|another) ({noun})(?: (\w+))?", self.head)
            after = found[2] or "" if found else ""
            clause = re.match(r"(what|how|which|where|when|if|whether)\b", self.head)
            if not found or (is_plural(after) and not clause):
                continue
            compound = after and found.end() == len(self.head) and not clause
            compound = compound and not re.match(AFTERWARDS, after)
            text = f"{noun} {after} {slot_of(p)}" if compound else f"{noun} {slot_of(p)} {after}"
            before = self.head[: found.start()] + ("the " if named else "")
            self.head = f"{before}{text.strip()}{self.head[found.end() :]}"
            self.left.remove(p)
            return

    def sole_id(self) -> Parameter | None:
        """The one id of a call whose object is named otherwise: "archive an email" + message id."""
        ids = [p for p in self.left if p.sense in ("id", "id_number") and not p.items]
        alone = len(ids) == 1 and not self.act.parts and not self.makes
        found = alone and re.match(r"(a|an) \w+$", self.head)
        return ids[0] if found else None

    def place(self, p: Parameter) -> None:
        """Put the object's own value into its head."""
        bare = _ARTICLE.sub("", self.head)
        if " or " in bare:  # "an album or a track" + a track
            ones = [_ARTICLE.sub("", one) for one in bare.split(" or ")]
            bare = next((one for one in ones if mentions(one, p)), ones[0])
            self.head = f"a {bare}"
        setter = self.verb in SETTERS and not is_numbered(p) and len(self.present) == 1
        if setter or (p.role == "to" and not is_numbered(p)):
            return
        self.left.remove(p)
        if is_plural(self.head):
            self.head = slot_of(p)
        elif is_numbered(p) or is_coded(p):
            bare = re.sub(r"^\w+'s ", "", bare)  # "a customer's subscription SUB-1"
            self.head = f"{bare} {slot_of(p)}"
        elif p.values and all(str(v).lower().endswith(bare) for v in p.values):
            self.head = f"the {slot_of(p)}"  # "the back door"
        elif p.sense in ITSELF or p.kind == "choice":
            self.head = (
                slot_of(p)
                if " " not in bare or p.sense in ITSELF
                else f"the {bare.rsplit(' ', 1)[0]} {slot_of(p)}"
            )
        elif self.makes:
            self.head = f"{self.head} called {slot_of(p)}"
        elif p.sense == "version":
            self.head = f"version {slot_of(p)}"
        else:
            self.head = f"the {bare} {slot_of(p)}"

    def take(self, phrase: str) -> Parameter | None:
        """The one parameter that a complement speaks of, taken from those left."""
        found = [
            p
            for p in self.left
            if p != self.first and self.placeable(phrase, p) and not p.items and mentions(phrase, p)
        ]
        if len([p for p in found if p.role in ("from", "to")]) > 1 or is_plural(phrase):
            return None
        if found:
            self.left.remove(found[0])
        return found[0] if found else None

    @staticmethod
    def placeable(phrase: str, p: Parameter) -> bool:
        """Whether a value may stand for the phrase: a place, a choice, or a number that says which
        one it is ("a tooth" + tooth 21)."""
        which = p.sense == "amount" and not p.unit and f" {phrase}".endswith(f" {p.noun}")
        return kind_named(p.sense).placed or p.kind == "choice" or is_numbered(p) or which

    def letters(self, phrase: str) -> list[Parameter]:
        """The parameters whose very names a complement lists: "of a and b"."""
        names = re.split(r",? and |,? or |, ", phrase)
        found = [p for name in names for p in self.left if p.name == name]
        return found if len(found) == len(names) > 1 else []

    def part(self, preposition: str, phrase: str) -> str:
        """A complement of the object with its value, "" where it goes without."""
        indefinite = bool(
            re.match(r"(a|an|one|another|some|two \w|it|its|them|id|any|someone)\b", phrase)
        )
        for p in self.left if re.match(r"(a|the) (file|document)$", phrase) else ():
            if p.noun in ("format", "file type"):
                self.left.remove(p)
                return f"{preposition} a {slot_of(p)} file"
        if listed := self.letters(phrase):
            self.left = [p for p in self.left if p not in listed]
            return f"{preposition} {' and '.join(map(slot_of, listed))}"
        if re.match(r"(a|some|a given) (time|while|period|duration|delay)\b", phrase):
            for p in self.left:
                if p.sense in DURATIONS:
                    self.left.remove(p)
                    return f"{preposition} {slot_of(p)} {p.sense}"
        if several := self.several(preposition, phrase):
            return several
        if self.kindly(phrase):
            return ""  # "a car of some class" is "a compact car"
        phrase = self.owned(phrase)
        spoken_of = any(mentions(phrase, p) for p in self.present)
        if owner := re.match(r"(?:a|an|the) (\w+)'s (.+)$", phrase):
            p = self.take(owner[1])
            if p is not None:
                return f"{preposition} {slot_of(p)}'s {owner[2]}"
        sized = re.match(r"(a|an|the) (number|value|level|amount|size|percentage)$", phrase)
        for p in self.left if sized and preposition == "to" and self.verb not in SETTERS else ():
            if p.sense == "percent" and not p.items:
                self.left.remove(p)
                return f"to {slot_of(p)} percent"
        if sized and any(kind_named(p.sense).range for p in self.left):
            return ""  # "to a number of replicas"
        if preposition in ("for", "about") and self.query and not spoken_of:
            return ""  # what is looked for is said by its value
        if preposition in DROPPED or (SYSTEM.search(phrase) and not spoken_of):
            return ""
        if " or " in phrase and (chosen := self._among(phrase)):
            return f"{preposition} {slot_of(chosen)}"
        p = self.take(phrase)
        if p is None and indefinite and not is_plural(phrase):
            p = self._only_id(phrase)
        if p is not None:
            if p.sense in ("date", "datetime") and preposition == "at":
                preposition = "on"  # "at a time" is "on 5 May at 11:30"
            return f"{preposition} {self.named(p, phrase)}"
        described = self.adjectives(phrase) if indefinite else phrase
        if described != phrase:
            return f"{preposition} {described}"
        unsaid = indefinite and any(mentions(phrase, p) for p in self.absent)
        paired = spoken_of and (indefinite or is_plural(phrase))
        return "" if unsaid or paired else f"{preposition} {phrase}"

    def several(self, preposition: str, phrase: str) -> str:
        """A complement that speaks of how many, or of two of a kind; "" for any other: "among
        people", "between two currencies", "from one unit to another", "for a party"."""
        for p in self.left if preposition in ("among", "amongst", "between", "for") else ():
            if kind_named(p.sense).range and not p.items and phrase == p.noun.split()[-1]:
                self.left.remove(p)
                return f"{preposition} {slot_of(p)} {phrase}"  # "among people"
        if re.match(r"two \w+s$|two \w+ies$", phrase) and preposition != "with":
            two = [p for p in self.left if not p.items and mentions(phrase.removesuffix("s"), p)]
            two = two or [p for p in self.left if not p.items and mentions(phrase, p)]
            if len(two) == 2:
                self.left = [p for p in self.left if p not in two]
                return f"{preposition} {' and '.join(map(slot_of, two))}"
        if re.match(r"(one|another|an?other)( \w+)?$", phrase):
            end = {"from": "from", "to": "to", "into": "to"}.get(preposition)
            ends = [p for p in self.left if end and p.role == end and not p.items]
            if len(ends) == 1 and ends[0].kind == "choice":
                self.left.remove(ends[0])
                return f"{preposition} {slot_of(ends[0])}"
        if re.match(r"a (party|group)$", phrase):
            for p in self.left:
                if p.sense == "people" and not p.items:
                    self.left.remove(p)
                    return f"{preposition} {phrase} of {slot_of(p)}"
        return ""

    def kindly(self, phrase: str) -> bool:
        """Whether "some class" is a type of the object that `adjectives` will say."""
        found = re.match(rf"(?:an?|some|any|one|the) ({KINDLY})$", phrase)
        return bool(found) and any(
            (own := re.match(rf"^(\w+) {found[1]}$", p.words))
            and re.search(rf"\b{re.escape(own[1])}s?\b", self.head)
            for p in self.left
        )

    def owned(self, phrase: str) -> str:
        """ "days an employee has left" with the employee's id."""
        for p in self.left:
            if p.items or not is_numbered(p) or not p.noun:
                continue
            noun = re.escape(p.noun.split()[-1])
            verbs = "has|have|had|is|was|can|will|owns?|holds?|took"
            owner = rf"\b(?:an?|the|one) ({noun})(?= (?:{verbs})\b)"
            if re.search(owner, phrase):
                self.left.remove(p)
                return re.sub(owner, rf"\1 {slot_of(p)}", phrase, count=1)
        return phrase

    def _among(self, phrase: str) -> Parameter | None:
        """The choice whose values a complement lists: "for ports, malware or viruses"."""
        for p in self.left:
            values = [str(v).lower()[:5] for v in p.values] if p.kind == "choice" else []
            if sum(v in phrase.lower() for v in values) > 1:
                self.left.remove(p)
                return p
        return None

    def _only_id(self, phrase: str) -> Parameter | None:
        """The one id of the call, where a complement names no parameter: "label an email" + the
        message's id."""
        ids = [p for p in self.present if p.sense in ("id", "id_number") and not p.items]
        if len(ids) != 1 or ids[0] not in self.left or ids[0] == self.first:
            return None
        if any(mentions(phrase, p) for p in [*self.present, *self.absent]):
            return None
        self.left.remove(ids[0])
        return ids[0]

    def named(self, p: Parameter, phrase: str) -> str:
        """The value with the word for what it is, where the value alone would not tell."""
        noun = _ARTICLE.sub("", phrase)
        if p.sense in ("name", "version", "amount") or is_numbered(p) or is_coded(p):
            return f"{noun} {slot_of(p)}"
        if BEFORE_NOUN.match(p.sense):
            return f"the {slot_of(p)} {noun}" if noun != "room" else f"the {slot_of(p)}"
        return slot_of(p)

    def adjectives(self, phrase: str) -> str:
        """ "a room" -> "a {room_type} room" where a choice is a type of the phrase's noun."""
        for p in list(self.left):
            kindly = re.match(rf"^(\w+) ({KINDLY})$", p.words)
            if not kindly or p.items or p.kind not in ("choice", "room_type", "") or p.role:
                continue
            found = re.search(rf"\b{re.escape(kindly[1])}s?\b", phrase)
            if found and "{" not in phrase:
                self.left.remove(p)
                return f"{phrase[: found.start()]}{slot_of(p)} {phrase[found.start() :]}"
        return phrase
