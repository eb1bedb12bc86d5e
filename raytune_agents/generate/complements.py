"""What a description's complements take of the parameters: "for a city" -> "for Lisbon".

One complement after the other, by rules from the most special one to the most general; a complement
whose value is not given goes without. Left out on purpose: the object itself (`placing`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from raytune_agents.generate.actions import DROPPED, GIVING, SYSTEM, Action, makes, verb_groups
from raytune_agents.generate.agreement import ONE_OF_PAIR
from raytune_agents.generate.clauses import CONTAINER, WHO
from raytune_agents.generate.forms import unit_words
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.nouns import (
    BEFORE_NOUN,
    CROWD,
    DURATIONS,
    KINDLY,
    PERSONAL,
    PREDICATE,
    TITLED,
    is_coded,
    is_numbered,
    mentions,
    named_slot,
    numbered_slot,
    slot_of,
)
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, regex

ARTICLE = pattern("article")
PEOPLE = pattern("people")


DATED = ("date", "datetime", "time", "month", "year")
PLACES = ("city", "zip", "street", "landmark", "latlon")
ALIKE = ("date", "month", "iso_week", "version", "commit", "branch", "file")  # told apart by name
PLAYED = ("play", "stream", "watch")
SPAN = regex("span")
INDEFINITE = regex("indefinite")


class Complements:
    """The parameters of a wish while its complements take theirs; `left` are those still to say."""

    def __init__(
        self, act: Action, present: Sequence[Parameter], absent: Sequence[Parameter], verb: str
    ):
        self.act, self.present, self.absent, self.verb = act, present, absent, verb
        self.left = list(present)
        self.head = act.head
        self.listed = any((p.items or p).kind == "choice" for p in present)
        self.spoken = act.head  # the object before any value stands in it
        self.first: Parameter | None = None  # the object's own value
        self.makes = makes(act)

    @property
    def query(self) -> Parameter | None:
        """The text that is searched for, or the work that is played, while it is not said."""
        plays = self.verb in PLAYED
        for p in self.left:
            work = plays and p.required and not p.role and TITLED.match(p.sense)
            if not p.items and (p.sense == "query" or work):
                return p
        return None

    def part(self, preposition: str, phrase: str) -> str:
        """A complement of the object with its value, "" where it goes without."""
        indefinite = re.match(INDEFINITE, phrase) is not None
        if inner := re.match(PREDICATE, phrase):  # "of an item are left"
            return (self.part(preposition, inner[1]) or f"{preposition} {inner[1]}") + inner[2]
        spoken_of = any(mentions(phrase, p) for p in self.present)
        user = re.fullmatch(r"something|anything|somebody|(an?|the) ([\w-]+ )?user", phrase)
        named = spoken_of or any(mentions(phrase, p) for p in self.absent)
        listed = preposition == "with" and " and " in phrase and named  # "a title and questions"
        if listed or (user and not spoken_of):
            return ""
        for p in self.left:
            if p.fields and indefinite and mentions(phrase, p):
                self.left.remove(p)
                return f"{preposition} {phrase} ({slot_of(p)})"
        if any(mentions(phrase, p) for p in self.present if (p.items or p).fields):
            return f"{preposition} {phrase}"  # a list of things follows the sentence
        if found := self.counted(preposition, phrase) or self.several(preposition, phrase):
            return found
        kind = re.fullmatch(rf"(?:an?|some|any) ({KINDLY})", phrase)
        if kind and not any(p.noun == kind[1] for p in self.left):
            return ""  # "a car of some class" is "a compact car"
        if (owned := self.owned(preposition, phrase)) is not None:
            return owned
        dated = [p for p in self.present if p.kind in DATED or p.unit in DURATIONS]
        dated = [p for p in dated if p.role in ("from", "to")]
        if dated and re.fullmatch(SPAN, phrase):
            return ""  # "within a date range" is "from May 5 to May 8"
        sized = re.match(r"(a|an|the) (number|value|level|amount|size|percentage)$", phrase)
        if sized and any(kind_named(p.sense).range for p in self.left):
            return ""  # "to a number of replicas"
        if preposition in ("for", "about") and self.query and not spoken_of:
            return ""  # what is looked for is said by its value
        if preposition in DROPPED or (SYSTEM.search(phrase) and not spoken_of):
            return ""
        if " or " in phrase and (chosen := self._among(phrase)):
            return f"{preposition} {chosen}"
        p = self.take(phrase)
        which = indefinite and not re.match("the (next|last|past)", phrase)
        if p is None and which and not is_plural(phrase):
            p = self._only_id(phrase)
        if p is not None:
            if p.sense in ("date", "datetime") and preposition == "at":
                preposition = "on"  # "at a time" is "on 5 May at 11:30"
            preposition = "for" if preposition == "per" else preposition
            return f"{preposition} {self.named(p, phrase)}"
        sizes = [p for p in self.left if kind_named(p.sense).range and mentions(phrase, p)]
        if indefinite and sizes and not sizes[0].items and not is_plural(phrase):
            self.left.remove(sizes[0])  # "to a net price of 109"
            return f"{preposition} {phrase} of {slot_of(sizes[0])} {unit_words(sizes[0])}".strip()
        described = self.adjectives(phrase) if indefinite else phrase
        if described != phrase:
            return f"{preposition} {described}"
        unsaid = indefinite and any(mentions(phrase, p) for p in self.absent)
        unsaid = unsaid or phrase == "another"
        paired = spoken_of and (indefinite or is_plural(phrase))
        # "the forecast for a place and time" says no more than "the forecast"
        loose = indefinite and bool(self.present) and preposition in ("for", "in", "at")
        loose = loose or (indefinite and self.first is not None and preposition == "of")
        return "" if unsaid or paired or loose else f"{preposition} {phrase}"

    def owned(self, preposition: str, phrase: str) -> str | None:
        """A complement that is somebody's, "in the patient's chart", or where somebody is; None for
        any other."""
        places = [p for p in self.left if p.sense in PLACES and not p.role]
        if preposition == "near" and places and PEOPLE.fullmatch(phrase):
            self.left.remove(places[0])  # "near the customer" + the zip code
            return f"near {slot_of(places[0])}"
        owner = re.match(r"(?:a|an|the) (\w+)'s (.+)$", phrase)
        if not owner:
            return None
        if any(mentions(owner[2], p) for p in self.left):
            return ""  # "from the animal's weight" + the weight
        whose = self._owner(owner[1])
        return f"{preposition} {whose}'s {owner[2]}" if whose else None

    def _owner(self, noun: str) -> str:
        """Whoever is meant by a noun, "" for nobody that the call names."""
        p = self.take(noun) or self._only_id(f"an {noun}")
        return "" if p is None else named_slot(noun, p)

    def possessor(self) -> None:
        """Whose the object is: "a user's password" -> "ana's password", or mine."""
        owner = re.fullmatch(r"(?:an?|the) (\w+)'s (.+)", self.head)
        if not owner:
            return
        if whose := self._owner(owner[1]):
            self.head = f"{whose}'s {owner[2]}"
        elif owner[1] == "user":
            self.head = f"my {owner[2]}"

    def receiver(self) -> None:
        """To whom the object is given: "grant a user access" -> "grant ana access"."""
        given = re.match(r"(?:an?|the) (\w+) (?=\w)", self.head)
        if given and self.verb in GIVING and (p := self.take(given[1])):
            self.head = f"{named_slot(given[1], p)} {self.head[given.end() :]}"

    def take(self, phrase: str) -> Parameter | None:
        """The one parameter that a complement speaks of, taken from those left."""
        found = [
            p
            for p in self.left
            if p != self.first and self.placeable(phrase, p) and not p.items and mentions(phrase, p)
        ]
        found.sort(key=lambda p: not is_numbered(p))  # of a customer's id and email the id
        if phrase.startswith("another "):  # "teleport a player to another player"
            found = [p for p in found if not mentions(self.head, p)]
        if len([p for p in found if p.role in ("from", "to")]) > 1 or is_plural(phrase):
            return None
        if found:
            self.left.remove(found[0])
        return found[0] if found else None

    @staticmethod
    def placeable(phrase: str, p: Parameter) -> bool:
        """Whether a value may stand for the phrase: a place, a choice, or a number that says which
        one it is ("a tooth" + tooth 21)."""
        unknown = p.sense == "amount" or not (p.kind or p.sense)
        which = not p.unit and f" {phrase}".endswith((f" {p.noun}", f" {p.words}"))
        which = which and unknown
        if p.sense == "period":
            return False  # "over today"
        return kind_named(p.sense).placed or p.kind == "choice" or is_numbered(p) or which

    def letters(self, phrase: str) -> list[Parameter]:
        """The parameters whose very names a complement lists: "of a and b"."""
        names = re.split(r",? and |,? or |, ", phrase)
        found = [p for name in names for p in self.left if p.name == name]
        return found if len(found) == len(names) > 1 else []

    def counted(self, preposition: str, phrase: str) -> str:
        """A complement that speaks of a list, of letters or of a time: "of multiple files", "of a
        and b", "after some days"; "" for any other."""
        if span := re.match(
            r"(?:the )?(next |last |past |coming )?(few |some )?((?:\w+ )?\w+s)$", phrase
        ):
            spans = [p for p in self.left if kind_named(p.sense).range and not p.items]
            found = [p for p in spans if span[3].split()[-1] in (p.sense, *p.words.split())]
            if found and (span[1] or span[2]):  # "within the next days", "after some days"
                self.left.remove(found[0])
                when = f"the {span[1]}" if span[1] else ""
                return f"{preposition} {when}{slot_of(found[0])} {span[3]}"
        lists = [p for p in self.left if p.items is not None and mentions(phrase, p)]
        if re.fullmatch(CROWD, phrase):  # "with friends" + usernames
            lists += [p for p in self.left if p.items is not None and p.items.sense in PERSONAL]
        if preposition == "by" and verb_groups().get(self.act.verbs[0]) == "search":
            lists = []  # "search the pool by skills": for people with these skills
        if lists and re.match(r"(several|multiple|many|some|the|\w+s)\b", phrase):
            self.left.remove(lists[0])  # "of multiple files"
            noun = f"{lists[0].noun.rstrip('s')}s " if is_numbered(lists[0]) else ""
            return f"{preposition} {noun}{slot_of(lists[0])}"
        if preposition != "by" and (listed := self.letters(phrase)):
            self.left = [p for p in self.left if p not in listed]
            return f"{preposition} {' and '.join(map(slot_of, listed))}"
        if re.match(r"(a|some|a given) (\w+ )?(time|while|period|duration|delay)\b", phrase):
            for p in self.left:
                if p.sense in DURATIONS:
                    self.left.remove(p)
                    return f"{preposition} {slot_of(p)} {p.sense}"
        return ""

    def several(self, preposition: str, phrase: str) -> str:
        """A complement that speaks of how many, or of two ends; "" for any other: "among people",
        "for a party", "between two currencies", "from one unit to another"."""
        for p in [p for p in self.left if p.sense == "people" and not p.items]:
            if preposition == "for" and phrase in ("a party", "a group"):
                self.left.remove(p)
                return f"for {phrase} of {slot_of(p)}"
        one = re.match(
            r"(one|another|an?other|a new one)(?: \w+)??((?: (?:is|are|costs?) .*)?)$", phrase
        )
        if one and preposition in ("from", "to", "into", "in"):
            role = "from" if "from" in (preposition, one[1].replace("one", "from")) else "to"
            dates = ("date", "datetime", "time")  # "lend it to another museum" until May
            ends = [p for p in self.left if p.role == role and not p.items]
            ends = [p for p in ends if p.kind not in dates][:1]
            if not ends and preposition == "into":  # "merge contacts into one" + the first one's id
                ends = [p for p in self.left if is_numbered(p) and not p.items and p.required][:1]
        elif preposition == "between" and is_plural(phrase):
            of_it = (phrase, phrase.removeprefix("two ").removesuffix("s"))
            ends = [p for p in self.left if not p.items and any(mentions(x, p) for x in of_it)]
            if len(ends) != 2 and len(two := self.two()) == 2:
                self.left = [p for p in self.left if p not in two]
                noun = re.sub(r"^(the )?(two )?", "", phrase)
                worded = all(re.fullmatch("[a-z_ ]+", str(v)) for p in two for v in p.values or "1")
                both = f"{slot_of(two[0])} and {slot_of(two[1])}"
                return f"{preposition} {both}" if worded else f"{preposition} {noun} {both}"
            ends = ends or [p for p in self.left if p.role in ("from", "to") and not p.items]
            ends = ends if len(ends) == 2 else []
        else:
            return ""
        if not ends or any(p.kind not in ("choice", ends[0].kind) for p in ends):
            return ""
        self.left = [p for p in self.left if p not in ends]
        if {p.role for p in ends} == {"from", "to"}:
            ends.sort(key=lambda p: p.role)
            return f"from {slot_of(ends[0])} to {slot_of(ends[1])}"
        after = one[2] if one else ""
        return f"{preposition} {' and '.join(map(slot_of, ends))}{after}"

    def two(self) -> list[Parameter]:
        """The two ids or codes that name two things of one sort: "crew a" and "crew b", the source
        and the target; [] where there are none."""
        codes = [p for p in self.left if not p.items and p.kind != "choice"]
        codes = [p for p in codes if is_numbered(p) or (not p.kind and p.values)]
        plain = [p for p in self.left if p.kind in ALIKE and not p.items]
        told = [p for p in dict.fromkeys((*codes, *plain)) if re.search(ONE_OF_PAIR, p.words)]
        same = {re.sub(ONE_OF_PAIR, "", p.words) for p in told}
        ends = [p for p in codes if p.role in ("from", "to")]
        return told if len(told) == 2 and len(same) == 1 else ends if len(ends) == 2 else []

    def _among(self, phrase: str) -> str:
        """What stands for a complement that lists the values of a choice: "for ports, malware or
        viruses", "for a lost or damaged shipment"; "" where it lists none."""
        for p in self.left:
            values = [str(v).lower().replace("_", " ") for v in p.values if p.kind == "choice"]
            if sum(v[:5] in phrase.lower() for v in values) > 1:
                self.left.remove(p)
                one = "|".join(map(re.escape, values))
                thing = re.fullmatch(rf"an? (?:{one})(?:, (?:{one}))*,? or (?:{one}) (\w+)", phrase)
                return f"a {slot_of(p)} {thing[1]}" if thing else slot_of(p)
        return ""

    def _only_id(self, phrase: str) -> Parameter | None:
        """The one id of the call, where a complement names no parameter: "label an email" + the
        message's id."""
        ids = [p for p in self.present if is_numbered(p) and not p.items]
        if not ids and PEOPLE.fullmatch(phrase):  # "of a subscriber" + the phone number
            whose = [p for p in self.present if p.sense in WHO and not (p.items or p.role)]
            ids = [p for p in whose if p.required]
        ids = [p for p in ids if not re.search(CONTAINER, p.noun)]
        ids = [p for p in ids if p.required] or ids
        if ids and mentions(self.head, ids[0]):
            return None  # "promote a subtask to a main task" + the subtask's
        if len(ids) != 1 or ids[0] not in self.left or ids[0] == self.first:
            return None
        if any(mentions(phrase, p) for p in [*self.present, *self.absent]) or phrase == "another":
            return None
        self.left.remove(ids[0])
        return ids[0]

    def named(self, p: Parameter, phrase: str) -> str:
        """The value with the word for what it is, where the value alone would not tell."""
        other = r"^(different|other|new|earlier|previous|later) "
        noun = re.sub(other, "", ARTICLE.sub("", phrase))
        either = [ARTICLE.sub("", one) for one in re.split(r",? or |, ", noun)]
        noun = next((one for one in either if mentions(one, p)), noun)
        noun = re.sub(r"(?<=\w) (id|identifier)$", "", noun)
        noun = re.sub(r"\b(?:an?|the) (?=\w+$)", "", noun)  # "answer a survey"
        if noun in ("name", "title") and not is_numbered(p):
            return f"the {noun} {slot_of(p)}"  # "under a new name"
        if (
            p.sense in ("name", "version", "amount", "phone")
            or not (p.kind or p.sense)
            or is_numbered(p)
            or is_coded(p)
        ):
            return numbered_slot(noun, p)
        if re.fullmatch(f"{noun} (of|starting|beginning)", p.words):
            return f"the {p.words} {slot_of(p)}"  # "of a week": "of the week of 5 May"
        last = noun.rpartition(" ")[2]
        if p.kind == "choice" and last and any(str(v).endswith(last) for v in p.values):
            return f"the {slot_of(p)}"  # "the kitchen" beside "living room"
        if BEFORE_NOUN.match(p.sense) and not re.search(r" or |path$", noun):
            bare = noun == "room" and p.kind != "choice"  # "the kitchen"
            return f"the {slot_of(p)}" if bare else f"the {slot_of(p)} {noun}"
        if p.kind == "choice" and not kind_named(p.sense).placed and noun.endswith(p.noun):
            return f"the {slot_of(p)} {noun}"  # "in the taxes office"
        return slot_of(p)

    def adjectives(self, phrase: str) -> str:
        """ "a room" -> "a {room_type} room" where a choice is a type of the phrase's noun."""
        for p in list(self.left):
            kindly = re.match(rf"^(\w+) ({KINDLY})$", p.words)
            if not kindly or p.items or p.kind not in ("choice", "room_type", "") or p.role:
                continue
            if any(str(v)[:1].isdigit() for v in p.values):
                continue  # "a 5 file" of file size
            # before the whole compound: "a {car type} rental car", but "an available {size} room"
            compound = r"(?:(?!\w*(?:able|ed|ing|free|new|all|an?|the|of)\b)[\w-]+ )*"
            found = re.search(rf"\b{compound}{re.escape(kindly[1])}s?\b", phrase)
            if found and "{" not in phrase:
                self.left.remove(p)
                return f"{phrase[: found.start()]}{slot_of(p)} {phrase[found.start() :]}"
        return phrase
