"""What a description's complements take of the parameters: "for a city" -> "for Lisbon".

One complement after the other, by rules from the most special one to the most general; a complement
whose value is not given goes without. Left out on purpose: the object itself (`placing`).
"""

from __future__ import annotations

import re

from raytune_agents.generate.actions import DROPPED, GIVING
from raytune_agents.generate.clauses import PEOPLE, WHO, is_plain
from raytune_agents.generate.forms import unit_words
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.kind_table import kind_named, matching_kind
from raytune_agents.generate.nouns import (
    DURATIONS,
    KINDLY,
    PREDICATE,
    TITLED,
    has_range,
    is_subject,
    mentions,
    named_slot,
    numbered_slot,
    speaks_of,
)
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.several import Several
from raytune_agents.generate.wordlists import pattern, regex

ARTICLE = pattern("article")


DATED = ("date", "datetime", "time", "month", "year")
WHEREABOUTS = ("city", "zip", "street", "landmark", "latlon")
TEXTS = ("message", "translate_text", "file_text")
OTHER_END = {"from": "to", "to": "from"}
PLAYED = ("play", "stream", "watch")
INDEFINITE = regex("indefinite")
OBJECTS = ("object", "item", "entity", "thing", "work", "element")


def is_object(p: Parameter) -> bool:
    """Whether a parameter is what it is all about, as its name says no more: "object name"."""
    return p.noun in OBJECTS and not p.role and bool(p.sense == "name" or TITLED.match(p.sense))


def fitting_preposition(preposition: str, phrase: str, p: Parameter) -> str:
    """The preposition before a value: "at a time" is "on 5 May at 11:30", "at a location" is "in
    Oslo"."""
    if p.sense in ("date", "datetime") and preposition == "at":
        return "on"
    if preposition == "in" and p.sense in ("restaurant", "hotel") and p.kind != "choice":
        return "at"
    stop = re.search(r"\b(station|stop|airport|port)\b", phrase)
    if preposition == "at" and p.sense in ("city", "country", "state") and not stop:
        return "in"
    return "for" if preposition == "per" else preposition


def _of_another(phrase: str, p: Parameter) -> bool:
    """Whether a description says that an id is of another thing than a phrase names."""
    told = pattern("id_of").match(p.about)
    return bool(told and told[1].lower() not in phrase and told[1].lower() in p.noun.split())


class Complements(Several):
    """The parameters of a wish while its complements take theirs; `left` are those still to say."""

    @property
    def query(self) -> Parameter | None:
        """The text that is searched for, or the work that is played, while it is not said."""
        plays = self.verb in PLAYED
        for p in self.left:
            titled = TITLED.match(p.sense) and not p.role
            work = plays and titled and (p.required or p.sense in ("song", "movie"))
            looked_for = is_object(p) and self.act.group == "search"
            if not p.items and (p.sense == "query" or work or looked_for):
                return p
        return None

    def part(self, preposition: str, phrase: str) -> str:
        """A complement of the object with its value, "" where it goes without."""
        indefinite = re.match(INDEFINITE, phrase) is not None
        if re.match(r"(it|they) \w", phrase):
            return ""  # "before it travels" is known to all
        if inner := re.match(PREDICATE, phrase):  # "of an item are left"
            return (self.part(preposition, inner[1]) or f"{preposition} {inner[1]}") + inner[2]
        spoken_of = any(mentions(phrase, p) for p in self.present)
        named = spoken_of or any(mentions(phrase, p) for p in self.absent)
        if re.fullmatch(r"(?:an?|the) [\w-]+ (?:user|account|member)", phrase) and not named:
            p = self._only_id(phrase)  # "about an Instagram user" + its id
            if p is not None:
                return f"{preposition} {self.named(p, phrase)}"
        user = re.fullmatch(r"something|anything|somebody|(an?|the) ([\w-]+ )?user", phrase)
        listed = preposition == "with" and " and " in phrase and named  # "a title and questions"
        if listed or (user and not spoken_of):
            return ""
        for p in self.left:
            if p.fields and indefinite and mentions(phrase, p):
                return f"{preposition} {phrase} ({self.use(p)})"
        if any(mentions(phrase, p) for p in self.present if (p.items or p).fields):
            return f"{preposition} {phrase}"  # a list of things follows the sentence
        if found := self.counted(preposition, phrase) or self.several(preposition, phrase):
            return found
        texts = [p for p in self.left if p.sense in TEXTS and p.kind != "choice" and not p.items]
        if len(texts) == 1 and re.fullmatch("(?:an?|the) (?:string|sentence|text|phrase)", phrase):
            self.left.remove(texts[0])  # "the order of words in a sentence"
            return f'{preposition} the {phrase.split()[-1]} "{texts[0].slot}"'
        kind = re.fullmatch(rf"(?:an?|some|any) ({KINDLY})", phrase)
        if kind and not any(p.noun == kind[1] for p in self.left):
            return ""  # "a car of some class" is "a compact car"
        if (owned := self.owned(preposition, phrase)) is not None:
            return owned
        if self._goes_without(preposition, phrase, spoken_of):
            return ""
        if " or " in phrase and (chosen := self._among(phrase)):
            return f"{preposition} {chosen}"
        if re.fullmatch("ascending or descending(?: order)?", phrase):
            return ""  # which of them nobody said
        p = self.take(phrase, preposition)
        which = indefinite and not re.match("the (next|last|past)", phrase)
        if p is None and which and not is_plural(phrase):
            p = self._only_id(phrase)
        if p is not None:
            preposition = fitting_preposition(preposition, phrase, p)
            return f"{preposition} {self.named(p, phrase)}"
        return self._without_place(preposition, phrase, spoken_of)

    def _goes_without(self, preposition: str, phrase: str, spoken_of: bool) -> bool:
        """Whether a complement is said by other words, or is nobody's business."""
        dated = [p for p in self.present if p.kind in DATED or p.unit in DURATIONS]
        dated = [p for p in dated if p.role in ("from", "to")]
        if dated and pattern("span").fullmatch(phrase):
            return True  # "within a date range" is "from May 5 to May 8"
        if pattern("span").fullmatch(phrase) and any(p.sense == "step_minutes" for p in self.left):
            return True  # "at 5-minute intervals"
        whom = preposition == "to" and re.fullmatch("(?:an?|the) (?:recipient|person)", phrase)
        if whom and any(p.sense in WHO and not p.role for p in self.left):
            return True  # "to a recipient" is "to +1 202..."
        sized = re.match(r"(a|an|the) (number|value|level|amount|size|percentage)$", phrase)
        if sized and any(has_range(p) for p in self.left):
            return True  # "to a number of replicas"
        if preposition in ("for", "about") and self.query and not spoken_of:
            return True  # what is looked for is said by its value
        return preposition in DROPPED or bool(pattern("system").search(phrase) and not spoken_of)

    def _without_place(self, preposition: str, phrase: str, spoken_of: bool) -> str:
        """A complement that no value stands for: with a size behind it, as it is, or not at all."""
        indefinite = re.match(INDEFINITE, phrase) is not None
        sizes = [p for p in self.left if has_range(p) and mentions(phrase, p)]
        if indefinite and sizes and not sizes[0].items and not is_plural(phrase):
            self.left.remove(sizes[0])  # "to a net price of 109"
            if re.search(rf"{regex('which_one')}|\w\w number$", phrase):
                return f"{preposition} {ARTICLE.sub('', phrase)} {sizes[0].slot}"  # "page 4"
            return f"{preposition} {phrase} of {sizes[0].slot} {unit_words(sizes[0])}".strip()
        described = self.adjectives(phrase) if indefinite else phrase
        if described != phrase:
            return f"{preposition} {described}"
        unsaid = indefinite and any(mentions(phrase, p) for p in self.absent)
        unsaid = unsaid or phrase == "another"
        if named_one := self.one_of(preposition, phrase):
            return named_one
        paired = spoken_of and (indefinite or is_plural(phrase))
        paired = paired and not (preposition == "of" and re.search(r"\blist$", self.head))
        # "the forecast for a place and time" says no more than "the forecast"
        loose = indefinite and bool(self.present) and preposition in ("for", "in", "at")
        timely = preposition in ("on", "since", "after", "before", "until")
        loose = loose or (timely and phrase in ("a date", "a day"))
        loose = loose or (indefinite and self.first is not None and preposition == "of")
        return "" if unsaid or paired or loose else f"{preposition} {phrase}"

    def one_of(self, preposition: str, phrase: str) -> str:
        """A complement of many things of which the call names one, "about ancient civilizations" +
        Egypt: "about the ancient civilization Egypt"; "" for any other."""
        one = re.fullmatch(r"(?!the |all |some |any |your |my )((?:[a-z-]+ )?)([a-z]{3,})s", phrase)
        found = [
            p
            for p in self.left
            if p.required and not (p.items or p.role or p.fields) and (p.values or p.is_numbered)
            if one and p.noun.split()[-1:] == [one[2]] and not mentions(self.head, p)
        ]
        if len(found) != 1 or not one:
            return ""
        self.left.remove(found[0])
        if all(is_plural(str(v)) and str(v).islower() for v in found[0].values or "-"):
            return f"{preposition} {found[0].slot}"  # "of gestures"
        return f"{preposition} the {one[1]}{one[2]} {found[0].slot}"

    def owned(self, preposition: str, phrase: str) -> str | None:
        """A complement that is somebody's, "in the patient's chart", or where somebody is; None for
        any other."""
        places = [p for p in self.left if p.sense in WHEREABOUTS and not p.role]
        if preposition == "near" and places and PEOPLE.fullmatch(phrase):
            return f"near {self.use(places[0])}"  # "near the customer" + the zip code
        owner = re.match(r"(?:a|an|the|another) (\w+)'s (.+)$", phrase)
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

    def take(self, phrase: str, preposition: str = "") -> Parameter | None:
        """The one parameter that a complement speaks of, taken from those left; what it comes from
        is nowhere that it goes to."""
        found = [p for p in self.left if p != self.first and not p.items and mentions(phrase, p)]
        found = [p for p in found if self.placeable(phrase, p) and speaks_of(phrase, p)]
        found = [p for p in found if p.role != OTHER_END.get(preposition, "none")]
        if not found and self.verb == "give":  # "to a book" + object name
            found = [p for p in self.left if is_object(p)]
        # of a customer's id and email the id, of a work and its artist what must be given
        found.sort(key=lambda p: (not p.is_numbered, not p.required))
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
        ends = (f" {p.noun}", f" {p.words}")
        either = re.split(r",? or |, ", phrase)  # "for a company or brand"
        which = not p.unit and any(f" {one}".endswith(ends) for one in either)
        which = (which and unknown) or (unknown and not p.items and is_subject(phrase, p))
        if p.sense == "period":
            return False  # "over today"
        return kind_named(p.sense).placed or p.kind == "choice" or p.is_numbered or which

    def _among(self, phrase: str) -> str:
        """What stands for a complement that lists the values of a choice: "for ports, malware or
        viruses", "for a lost or damaged shipment"; "" where it lists none."""
        for p in self.left:
            values = [str(v).lower().replace("_", " ") for v in p.values if p.kind == "choice"]
            if sum(v[:5] in phrase.lower() for v in values) > 1:
                self.left.remove(p)
                one = "|".join(map(re.escape, values))
                thing = re.fullmatch(rf"an? (?:{one})(?:, (?:{one}))*,? or (?:{one}) (\w+)", phrase)
                return f"a {p.slot} {thing[1]}" if thing else p.slot
        return ""

    def _only_id(self, phrase: str) -> Parameter | None:
        """The one id of the call, where a complement names no parameter: "label an email" + the
        message's id."""
        ids = [p for p in self.present if p.is_numbered and not p.items]
        ids = [p for p in ids if not pattern("which_one").search(p.noun)]  # no game is its round
        if not ids and PEOPLE.fullmatch(phrase):  # "of a subscriber" + the phone number
            whose = [p for p in self.present if p.sense in WHO and not (p.items or p.role)]
            ids = [p for p in whose if p.required]
        ids = [p for p in ids if not pattern("container").search(p.noun)]
        ids = [p for p in ids if p.required] or ids
        if ids and ids[0].noun != "ID" and _of_another(phrase, ids[0]):
            return None  # "on a workspace" + "The id of the request to approve"
        if ids and mentions(self.head, ids[0]):
            return None  # "promote a subtask to a main task" + the subtask's
        if ids and PEOPLE.fullmatch(f"a {ids[0].noun}") and not PEOPLE.fullmatch(phrase):
            return None  # "space for a firing" + the member's
        if len(ids) != 1 or ids[0] not in self.left or ids[0] == self.first:
            return None
        others = [x for of, x in self.act.parts if x != phrase and of not in DROPPED]
        if any(mentions(other, ids[0]) for other in others):
            return None  # "a guest for an interview on a show" + the show's
        named = any(mentions(phrase, p) for p in [*self.present, *self.absent])
        if named or phrase.startswith("another"):
            return None
        if matching_kind("string", ARTICLE.sub("", phrase), "", "")[0] in DATED:
            return None  # no number is a date
        self.left.remove(ids[0])
        return ids[0]

    def named(self, p: Parameter, phrase: str) -> str:
        """The value with the word for what it is, where the value alone would not tell."""
        other = r"^(different|other|new|next|earlier|previous|later) "
        phrase = re.sub(r"(?<=\w) (?:that|which|who) (?:is|are|was|has)\b.*", "", phrase)
        noun = re.sub(other, "", ARTICLE.sub("", phrase))
        either = [ARTICLE.sub("", one) for one in re.split(r",? or |, ", noun)]
        if " and " in noun and not is_plain(p, kind_named(p.sense), ""):
            return f"the {p.noun} {p.slot}"  # "for a passport and destination"
        both = noun.split(" and ") if " and " in noun else []  # "for a date and range"
        noun = next((one for one in [*both, *either] if mentions(one, p)), noun)
        noun = re.sub(r"(?<=\w) (id|identifier)$", "", noun)
        noun = re.sub(r"\b(?:an?|the) (?=\w+$)", "", noun)  # "answer a survey"
        if noun in ("name", "title") and not p.is_numbered:
            return f"the {noun} {p.slot}"  # "under a new name"
        general = p.sense in ("name", "version", "amount", "phone") or not (p.kind or p.sense)
        if general or p.is_numbered or p.is_coded:
            return numbered_slot(noun, p)
        if re.fullmatch(f"{noun} (of|starting|beginning)", p.words):
            return f"the {p.words} {p.slot}"  # "of a week": "of the week of 5 May"
        last = noun.rpartition(" ")[2]
        if p.kind == "choice" and last and any(str(v).endswith(last) for v in p.values):
            return f"the {p.slot}"  # "the kitchen" beside "living room"
        if pattern("before_noun").match(p.sense) and not re.search(r" or |path$", noun):
            bare = noun == "room" and p.kind != "choice"  # "the kitchen"
            return f"the {p.slot}" if bare else f"the {p.slot} {noun}"
        if p.kind == "choice" and not kind_named(p.sense).placed and noun.endswith(p.noun):
            return f"the {p.slot} {noun}"  # "in the taxes office"
        return p.slot

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
                repeated = p.values and all(str(v).endswith(kindly[1]) for v in p.values)
                if repeated and found.end() == len(phrase):  # "a hypothesis test" + t-test
                    return f"{phrase[: found.start()]}{p.slot}"
                return f"{phrase[: found.start()]}{p.slot} {phrase[found.start() :]}"
        return phrase
