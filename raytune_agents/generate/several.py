"""What a description's complements take of lists, counts and two ends: "of multiple files", "after
some days", "between two currencies", "from one unit to another".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from raytune_agents.generate.actions import READING, Action
from raytune_agents.generate.agreement import ONE_OF_PAIR
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.nouns import DURATIONS, PERSONAL, has_range, mentions, named_slot
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern

ENDS_OF_LIST = "the (?:first|last|latest|newest|oldest|top|most recent)(?= )"
ALIKE = ("date", "month", "iso_week", "version", "commit", "branch", "file")  # told apart by name


class Several:
    """The parameters of a wish, and the complements that speak of more than one thing."""

    def __init__(
        self, act: Action, present: Sequence[Parameter], absent: Sequence[Parameter], verb: str
    ):
        self.act, self.present, self.absent, self.verb = act, present, absent, verb
        self.left = list(present)
        self.head = act.head
        self.listed = any((p.items or p).kind == "choice" for p in present)
        self.spoken = act.head  # the object before any value stands in it
        self.first: Parameter | None = None  # the object's own value
        self.makes = act.makes

    def use(self, p: Parameter) -> str:
        """The place of a value, which is said there."""
        self.left.remove(p)
        return p.slot

    def letters(self, phrase: str) -> list[Parameter]:
        """The parameters whose very names a complement lists: "of a and b"."""
        names = re.split(r",? and |,? or |, ", phrase)
        found = [p for name in names for p in self.left if p.name == name]
        return found if len(found) == len(names) > 1 else []

    def counted(self, preposition: str, phrase: str) -> str:
        """A complement that speaks of a list, of letters or of a time: "of multiple files", "of a
        and b", "after some days"; "" for any other."""
        if span := pattern("span_of_time").match(phrase):
            spans = [p for p in self.left if has_range(p) and not p.items]
            found = [p for p in spans if span[3].split()[-1] in (p.sense, *p.words.split())]
            if found and (span[1] or span[2]):  # "within the next days", "after some days"
                when = f"the {span[1]}" if span[1] else ""
                return f"{preposition} {when}{self.use(found[0])} {span[3]}"
        numbers = [p for p in self.left if p.items is not None and p.items.sense == "operand"]
        if len(numbers) == 1 and re.fullmatch("(?:an?|the) (?:list|array|series|sequence)", phrase):
            return f"{preposition} the list {self.use(numbers[0])}"
        lists = [p for p in self.left if p.items is not None and mentions(phrase, p)]
        if pattern("crowd").fullmatch(phrase):  # "with friends" + usernames
            lists += [p for p in self.left if p.items is not None and p.items.sense in PERSONAL]
        if preposition == "by" and self.act.group == "search":
            lists = []  # "search the pool by skills": for people with these skills
        if lists and re.match(r"(several|multiple|many|some|the|\w+s)\b", phrase):
            noun = f"{lists[0].noun.rstrip('s')}s " if lists[0].is_numbered else ""
            noun = f"{phrase} " if re.fullmatch("the (numbers|integers|values)", phrase) else noun
            begins = preposition == "for" and lists[0].role == "from"  # "for several origins"
            first = "from" if begins else preposition
            return f"{first} {noun}{self.use(lists[0])}"  # "of multiple files"
        if preposition != "by" and (listed := self.letters(phrase)):
            self.left = [p for p in self.left if p not in listed]
            return f"{preposition} {' and '.join(p.slot for p in listed)}"
        if re.match(r"(a|some|a given) (\w+ )?(time|while|period|duration|delay)\b", phrase):
            for p in self.left:
                if p.sense in DURATIONS:
                    return f"{preposition} {self.use(p)} {p.sense}"
        return ""

    def several(self, preposition: str, phrase: str) -> str:
        """A complement that speaks of how many, or of two ends; "" for any other: "among people",
        "for a party", "between two currencies", "from one unit to another"."""
        for p in [p for p in self.left if p.sense == "people" and not p.items]:
            if preposition == "for" and phrase in ("a party", "a group"):
                return f"for {phrase} of {self.use(p)}"
        if preposition == "between" and (both := self.two_sides(phrase)):
            return f"between {both}"
        one = pattern("one_or_another").match(phrase)
        if moved := self._from_one_to(preposition, phrase):
            return moved
        if one and preposition in ("from", "to", "into", "in"):
            role = "from" if "from" in (preposition, one[1].replace("one", "from")) else "to"
            dates = ("date", "datetime", "time")  # "lend it to another museum" until May
            ends = [p for p in self.left if p.role == role and not p.items]
            ends = [p for p in ends if p.kind not in dates][:1]
            if not ends and preposition == "into":  # "merge contacts into one" + the first one's id
                ends = [p for p in self.left if p.is_numbered and not p.items and p.required][:1]
        elif preposition == "between" and is_plural(phrase):
            one_thing = re.sub(r"ies$", "y", phrase.removeprefix("two "))
            of_it = (phrase, one_thing.removesuffix("s"))
            ends = [p for p in self.left if not p.items and any(mentions(x, p) for x in of_it)]
            if len(ends) != 2 and len(two := self.two()) == 2:
                self.left = [p for p in self.left if p not in two]
                noun = re.sub(r"^(the )?(two )?", "", phrase)
                worded = all(re.fullmatch("[a-z_ ]+", str(v)) for p in two for v in p.values or "1")
                both = f"{two[0].slot} and {two[1].slot}"
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
            return f"from {ends[0].slot} to {ends[1].slot}"
        after = one[2] if one else ""
        return f"{preposition} {' and '.join(p.slot for p in ends)}{after}"

    def _from_one_to(self, preposition: str, phrase: str) -> str:
        """ "to another table" -> "from table 3 to table 12", where both are known by numbers."""
        noun = phrase.removeprefix("another ")
        ends = {p.role: p for p in self.left if noun in p.words.split() and not p.items}
        ends = {role: p for role, p in ends.items() if p.kind != "choice" and not p.unit}
        if preposition != "to" or noun == phrase or {"from", "to"} - set(ends):
            return ""
        if any(ends[role].type != "integer" for role in ("from", "to")):
            return ""
        self.left = [p for p in self.left if p not in ends.values()]
        return f"from {noun} {ends['from'].slot} to {noun} {ends['to'].slot}"

    def two_sides(self, phrase: str) -> str:
        """What stands for two things that a complement names: "a buyer and a seller"; "" where the
        call has not both."""
        sides = re.fullmatch(r"(?:an?|the) ([a-z]+) and (?:(?:an?|the) )?([a-z]+)", phrase)
        told = [
            (noun, p)
            for noun in (sides.groups() if sides else ())
            for p in self.left
            if not p.items and p.noun.split()[-1:] == [noun]
        ]
        if len(told) != 2 or told[0][1] == told[1][1]:
            return ""
        self.left = [p for p in self.left if p not in (told[0][1], told[1][1])]
        return " and ".join(named_slot(noun, p) for noun, p in told)

    def two(self) -> list[Parameter]:
        """The two ids or codes that name two things of one sort: "crew a" and "crew b", the source
        and the target; [] where there are none."""
        codes = [p for p in self.left if not p.items and p.kind != "choice"]
        codes = [p for p in codes if p.is_numbered or (not p.kind and p.values)]
        plain = [p for p in self.left if p.kind in ALIKE and not p.items]
        told = [p for p in dict.fromkeys((*codes, *plain)) if re.search(ONE_OF_PAIR, p.words)]
        same = {re.sub(ONE_OF_PAIR, "", p.words) for p in told}
        ends = [p for p in codes if p.role in ("from", "to")]
        return told if len(told) == 2 and len(same) == 1 else ends if len(ends) == 2 else []

    def counted_things(self) -> None:
        """ "unused days" -> "{days} unused days" where a number says how many of them; "tickets" +
        quantity."""
        bare = re.sub("^(?:the|some|all) ", "", self.head)
        reads = self.act.group in (*READING, "search")
        for p in self.left:
            several = has_range(p) and not (p.items or p.role)
            ends = re.match(ENDS_OF_LIST, self.head)  # "the last lines" + 50
            if several and ends and p.words.split()[-1] == bare.split()[-1]:
                self.head = f"{ends[0]} {self.use(p)}{self.head[ends.end() :]}"
                return
            count = several and not reads
            many = p.words.split()[-1] == bare.split()[-1] or p.sense == "quantity"
            if count and is_plural(bare) and "{" not in bare and many:
                self.left.remove(p)
                who = re.match(r"an? .+ to \w+ ", bare)  # "a porter to collect specimens"
                lead = who[0] if who else ""
                self.head = f"{lead}{p.slot} {bare.removeprefix(lead)}"
                return

    def goods(self) -> list[str]:
        """How many of what: "for 12 flyers" of a quantity and a product."""
        many = [p for p in self.left if p.sense == "quantity" and not (p.items or p.role)]
        things = [p for p in self.left if p.kind == "choice" and not p.items]
        things = [p for p in things if re.search(r"\b(product|item|article|goods)s?$", p.words)]
        if (
            len(many) != 1
            or len(things) != 1
            or not all(map(is_plural, map(str, things[0].values)))
        ):
            return []
        self.left = [p for p in self.left if p not in (many[0], things[0])]
        return [f"for {many[0].slot} {things[0].slot}"]
