"""Where a value stands inside the object of a wish: "the weather for a city" -> "... for Lisbon".

A description speaks of its parameters: as its object ("cancel a booking"), as an object's
complement ("the status of an order"), as its kind ("a room" + room_type). Such a value stands right
there; what is left over becomes a clause of its own in `templates`.
"""

from __future__ import annotations

import random
import re

from raytune_agents.generate.actions import DROPPED, READING
from raytune_agents.generate.clauses import GENERAL_SETTERS, SETTERS, clause_of
from raytune_agents.generate.codes import MEASURE
from raytune_agents.generate.complements import ARTICLE, is_object
from raytune_agents.generate.forms import in_quotes
from raytune_agents.generate.grammar import PREPOSITIONS, is_plural
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.named_clauses import SITE
from raytune_agents.generate.nouns import (
    CLAUSE,
    ITSELF,
    KINDLY,
    NAMES,
    TITLED,
    TOLD,
    has_range,
    is_handle,
    mentions,
    numbered_slot,
)
from raytune_agents.generate.parameter import NUMBERED, Parameter
from raytune_agents.generate.told_in_one import persona_of
from raytune_agents.generate.wholes import ADDED, Wholes
from raytune_agents.generate.wordlists import compiled, pattern

MACHINES = "(appliance|device|machine|instrument|door|light|pump|fan|sensor|valve)$"
NAMED_WHEN_MADE = ("product", "domain", "company")


def first_of_all(text: str) -> str:
    """The first of several things that one call is about: "a device or entity" -> "a device"."""
    text = re.sub(r"\b([\w-]+)(?:, [\w-]+)+,? or [\w-]+(?= |$)", r"\1", text)
    text = re.sub(r"\b(an? [\w-]+)(?:, an? [\w-]+)+(?:,? or an? [\w-]+)?(?= |$)", r"\1", text)
    return re.sub(r"\b((?:an?|the) [\w-]+(?: [\w-]+)?) or (?:an? )?[\w-]+(?= |$)", r"\1", text)


class Placing(Wholes):
    """The object of a wish while values are put into it and its complements."""

    def body(self, rng: random.Random) -> str:
        """The object with its values."""
        self.wholes()
        self.settings()
        if (both := re.fullmatch(r"(?:the )?two (\w+s)", self.head)) and (two := self.two()):
            self.left = [p for p in self.left if p not in two]  # "link issues A-1 and A-2"
            self.head = f"{both[1]} {two[0].slot} and {two[1].slot}"
        one = any(p.words == "name" and not p.items for p in self.left)
        several = self.makes and is_plural(self.head) and "{" not in self.head
        if several and (self.head.startswith("the ") or one):
            self.head = "a " + self.head.removeprefix("the ").removesuffix("s")
        users = [p for p in (*self.present, *self.absent) if re.search("user|customer", p.words)]
        if self.head == "the user" and not users:
            self.head = "me"  # who asks
        self.receiver()
        own = self.first = self.own() or self.sole_id()
        if own is None:
            self.possessor()
        kept: list[str] = []
        for preposition, phrase in self.act.parts:
            text = self.part(preposition, phrase)
            # "to another column of the board" + backlog
            said = text == f"of {phrase}" and kept and kept[-1].endswith("}")
            kept += [text] if text and not said else []
        if own is not None and own in self.left:
            self.place(own)
            self.by_maker(own)
        elif own is None:
            self.inside()
        self.possessed()
        self.counted_things()
        self.head = self.adjectives(self.head)
        self.names(rng)
        if not self.listed:
            self.head = first_of_all(self.head)
        kept += self.goods()
        person, told = persona_of(self.left)
        self.left = [p for p in self.left if p not in told]
        kept.append(person)
        text = re.sub(r"(?:, \w+)? (?:or|and)$", "", " ".join([self.head, *kept]).strip())
        return text if self.listed else first_of_all(text)

    def by_maker(self, work: Parameter) -> None:
        """ "add {track} to the queue" + its artist: "add {track} by {artist}"."""
        makers = [p for p in self.left if p.sense in ("artist", "author") and not p.items]
        if work not in self.left and self.head.endswith(work.slot):
            for p in makers[:1]:
                self.head += f" by {self.use(p)}"

    def names(self, rng: random.Random) -> None:
        """The name of the object: "export the dashboard X", 'a member named "Ana"'."""
        named = [p for p in self.left if p.sense in NAMES or p.words == "name"]
        named = [p for p in named if p.sense != "person"]  # of whom it is, as its description says
        for p in [p for p in named if p.kind != "choice" and not p.items][:1]:
            noun = self.head.split()[-1:] if self.head else []
            thing = p.said.removesuffix("name").split()
            sets = self.verb in SETTERS and not any(q.words == "value" for q in self.left)
            if sets or (thing and thing[-1] not in self.head.split()):
                continue  # it has no name, or another thing has it
            whole = not (p.said or self.act.parts or is_plural(self.head))
            only = p.words == "name" and p.required and whole
            only = only and not any(q.is_numbered for q in self.present)
            # "export the dashboard X", "fill the template X"
            if not self.makes and (p.noun.split()[-1:] == noun or only):
                self.head = f"the {ARTICLE.sub('', self.head)} {self.use(p)}"
            # 'add a member named "Ana" to the team'
            elif (
                p.role != "to"
                and noun not in (["list"], ["collection"])
                and (clause := self.called(p, clause_of(p, "", rng, head=self.head)))
            ):
                self.left.remove(p)
                self.head += f" {clause}"

    def called(self, p: Parameter, clause: str) -> str:
        """The clause of a name, of what is made always as one: no "group in the Sales group"."""
        own = self.makes and p.words in ("name", "title") and not TITLED.match(p.sense)
        named = re.match("called|named|titled", clause)
        return clause if named or not own else f'called "{p.slot}"'

    def possessed(self) -> None:
        """ "bucket usage" -> "the usage of bucket logs-1" where the bucket is still to say."""
        for p in [p for p in self.left if not p.items and not self.makes]:
            found = compiled(rf"(?:an? |the )?{re.escape(p.noun)} ((?:\w+ )?\w+)").fullmatch(
                self.head
            )
            if found and (p.is_numbered or TITLED.match(p.sense)):
                self.head = f"the {found[1]} of {p.noun} {self.use(p)}"
                return

    def own(self) -> Parameter | None:
        """The parameter that is the object itself, or says which one it is."""
        bare = re.sub(rf" {TOLD}$", "", self.head)  # "the brand associated" with a domain
        noun = bare.split()[-1].lower() if bare else ""
        if not noun or re.match(rf"{CLAUSE}|that |\w+ing (an?|the) ", self.head):
            return None  # `inside` finds it
        if is_plural(self.head):  # "move files" + one path
            files = re.search(r"\b(files|documents|directories|folders)$", self.head)
            reads = self.act.group in ("search", "list", "show")
            moved = files and not reads and not self.query
            found = (p for p in self.left if p.sense in ("file", "folder") and not p.items)
            return next((p for p in found if moved and p.role in ("", "from")), None)
        kinds = (*NUMBERED, *ITSELF)
        # "status page impact" with ids of both is an impact
        spaced = noun.replace("-", " ")  # "a sub-issue" + sub issue id, and the number
        for p in sorted(self.left, key=lambda p: (spaced not in p.words, noun not in p.words)):
            joins = self.verb == "add" and self.act.parts  # "add a target to the queue"
            quoted = not p.kind and p.noun.split()[-1:] == [noun] and (joins or not self.makes)
            quoted = quoted or (len(p.noun) > 4 and noun[1:].endswith(p.noun))  # "PaymentIntent"
            itself = quoted or p.sense in kinds or p.is_numbered or TITLED.match(p.sense)
            itself = itself or (p.sense == "last_name" and p.words.split()[-1] == noun)
            itself = itself or (p.said and p.sense in ("file", "code_file") and not p.role)
            # "add a track" + entity name; what is searched for is a query
            itself = itself or (is_object(p) and p != self.query and self.verb != "give")
            apart = p.sense == "url" or p.role == "from"  # a link to it, what it is made of
            itself = itself and not (self.makes and apart)
            other = not p.required and any(q.words == "id" and q.required for q in self.present)
            other = other or bool(re.match(rf"(?:{KINDLY}) of ", p.noun))  # not the sequence itself
            if p.items or p.fields or other or not (itself or p.kind == "choice"):
                continue
            if p.kind == "choice" and not itself:
                definite = self.head.startswith("the ") and not p.is_coded
                same = p.words.split()[-1:] == [noun]
                sized = any(has_range(q) for q in self.left)
                named = sized or self.verb not in SETTERS  # "resize a pool" to so many runners
                if same and named and not p.role and not definite:
                    return p  # "order a meal" + meal=lunch
                continue
            either = p.sense in ITSELF and " or " in bare  # "an IP address or range"
            if either and mentions(bare.split(" or ")[0], p):
                return p
            whole = rf"\b{re.escape(p.noun.lower())}(?: \w+)?$"
            compound = " " in p.noun and re.search(whole, self.head.lower())  # "boarding pass"
            if is_object(p) and self.verb != "give":  # "give a rating to a book"
                return p
            if spaced in p.noun or mentions(noun, p) or compound:
                return p
        return None

    def something(self) -> None:
        """Put what must be given in the place of "something": "when to plant something"."""
        if self.head.endswith(" something"):
            whole = [p for p in self.left if p.required and not (p.items or p.role)]
            whole.sort(key=lambda p: (p.noun not in self.head.split(), p.kind == "choice"))
            for p in whole[:1]:
                self.head = f"{self.head.removesuffix('something')}{self.use(p)}"

    def inside(self) -> None:
        """Put an id where the object speaks of it: "what a bin holds" -> "what bin A-1 holds"."""
        self.something()
        for p in list(self.left):
            named, which = p.sense == "name", p.sense == "amount" and not p.unit
            new = self.verb in SETTERS and p.words.startswith("new ")  # what it is set to
            if p.items or not p.noun or new:
                continue
            if p.values and all(MEASURE.fullmatch(str(v)) for v in p.values):  # "than a size"
                size = re.search(rf"\b(?:an?|some) {p.noun.split()[-1]}\b", self.head)
                if size:
                    self.head = f"{self.head[: size.start()]}{self.use(p)}{self.head[size.end() :]}"
                continue
            if not (p.is_numbered or p.is_coded or named or which):
                ends = r"(?: number| address| code| id)?"
                names = rf"{re.escape(p.noun)}{ends}|{re.escape(p.words)}"
                names += r"|(?:prepaid |mobile )?number" if p.sense == "phone" else ""
                clause = re.match(CLAUSE, self.head)  # "what one needs to enter a country"
                names += f"|{kind_named(p.sense).nouns}" if clause and p.role == "to" else ""
                kindly = r"(?:\w+ )?" if clause and not p.role else ""  # "an email domain"
                one = rf"\b(?:an?|the) {kindly}(?:{names})(?= |$)"
                found = compiled(one).search(self.head)
                whole = found and found[0] == self.head and (self.makes or self.verb in SETTERS)
                chosen = clause and not p.role  # "when a metric is low" + pH
                usable = chosen if p.kind == "choice" else kind_named(p.sense).placed
                told = clause and not (p.kind or p.sense)  # known by its values alone
                usable = usable or told
                usable = usable or p.noun in ("amount", "sum")  # "exchanging an amount"
                found = found if usable else None
                if found and (p.role != "to" or clause) and not whole:
                    slot = f"{p.noun} {p.slot}" if told else p.slot
                    self.head = self.with_slot(p, found, slot)
                    self.left.remove(p)
                continue
            noun = re.escape(re.sub(r"(?<=\w) (number|no)$", "", p.noun).split()[-1])
            if p.noun.startswith(f"{p.words} "):  # "a customer" + customer account
                noun = f"{re.escape(p.words)}|{noun}"
            if p.noun == "ID" and re.match(CLAUSE, self.head):
                noun = r"\w+"  # "where a shipment is"
            clause = re.match(rf"{CLAUSE}|that ", self.head)
            kindly = r"(?:\w+ )??" if clause else ""  # "where a refund claim has got to"
            one = rf"\b(?:an?|the|one|another) ({kindly}(?i:{noun})(?: number\b)?)\b(?: (\w+))?"
            found = compiled(one).search(self.head)
            after = found[2] or "" if found else ""
            if not found or (is_plural(after) and not clause):
                continue
            whole = after and found.end() == len(self.head) and not clause
            compound = whole and not pattern("afterwards").match(after)
            rest = self.head[found.end() :]  # "whether a crew member may fly"
            compound = compound or bool(after and re.match(r" (may|can|must|is|has|will)\b", rest))
            noun, last = found[1], compound or clause or pattern("afterwards").match(after)
            if not last and self.of_compound(noun, p):
                continue
            text = f"{noun} {after} {p.slot}" if compound else f"{noun} {p.slot} {after}"
            before = self.head[: found.start()] + ("the " if named else "")
            self.head = f"{before}{text.strip()}{self.head[found.end() :]}"
            self.left.remove(p)

    def with_slot(self, p: Parameter, noun: re.Match[str], slot: str) -> str:
        """The head with a value in place of its noun, behind it where the noun begins a compound:
        "a song request for Halo"."""
        after = re.match(r" (?!or )[a-z]", self.head[noun.end() :])
        if after and TITLED.match(p.sense) and not re.match(CLAUSE, self.head):
            return f"{self.head} for {slot}"
        return self.head.replace(noun[0], slot, 1)

    def of_compound(self, noun: str, p: Parameter) -> bool:
        """Put an id behind a compound that begins with its noun: "the employee engagement score" ->
        "the engagement score of employee 5"."""
        whole = re.fullmatch(rf"(?:an?|the) {re.escape(noun)} ((?:[a-z-]+ )+[a-z-]+)", self.head)
        if not whole or re.search(rf"\b(?:{PREPOSITIONS}|a|an|the|and|or)\b", whole[1]):
            return False
        self.head = f"the {whole[1]} {'for' if self.makes else 'of'} {noun} {p.slot}"
        self.left.remove(p)
        return True

    def sole_id(self) -> Parameter | None:
        """The one id of a call whose object is named otherwise: "archive an email" + message id."""
        if "{" in self.head:
            return None  # "the plan to team" is no subscription
        ids = [p for p in self.left if p.is_numbered and not p.items and p.sense != "index"]
        ids = [p for p in ids if not (pattern("owners").search(p.noun) or re.match(SITE, p.noun))]
        if any(p.fields and mentions(self.head, p) for p in self.left):
            return None  # "report a delay" of so many minutes is no flight
        spoken = {word for _, phrase in self.act.parts for word in phrase.split()}
        said = self.head.lower().split()
        bare = [p for p in ids if p.noun == "ID" or (p.words == "id" and p.noun in said)]
        bare = [p for p in bare if not {p.noun, p.words.split()[0]} & spoken]
        parts = [part for part in self.act.parts if part[0] not in DROPPED]
        if self.verb == "upload":
            return None  # an image of the pet 5, which is no image
        if any(of == "of" and re.match("an? ", whose) for of, whose in parts):
            bare = []  # "the status of a crawl job" + id
        if len(bare) == 1 and re.match(r"(an?|the|my) (?!list\b|collection\b)", self.head):
            return None if self.makes or is_plural(self.head) else bare[0]
        if re.fullmatch(r"an? \w+", self.head) and parts:  # "rate a freelancer after a job" + both
            ids = [p for p in ids if not any(mentions(phrase, p) for _, phrase in parts)]
            others = [p for p in self.present if p not in ids]
            parts = [x for x in parts if not any(mentions(x[1], p) for p in others)]
        alone = len(ids) == 1 and not parts and not self.makes and not is_plural(self.head)
        reads = self.act.group in READING or self.verb in SETTERS
        bare_noun = r"(an? )?\w+$" if not reads else r"an? \w+$"  # "lock door"
        found = alone and re.match(bare_noun, self.head)
        return ids[0] if found else None

    def place(self, p: Parameter) -> None:
        """Put the object's own value into its head."""
        bare = ARTICLE.sub("", self.head)
        if " or " in bare:  # "an album or a track" + a track
            ones = [ARTICLE.sub("", one) for one in re.split(",? or |, ", bare)]
            bare = next((one for one in ones if mentions(one, p)), ones[0])
            self.head = f"a {bare}"
        setter = self.verb in SETTERS and not p.is_numbered and len(self.present) == 1
        several = self.verb in GENERAL_SETTERS and not p.is_numbered and not p.is_coded
        towards = p.role == "to" and not p.is_numbered and p.noun != bare  # "a target"
        whose = [x for of, x in self.act.parts if of == "of" and self.verb in SETTERS]
        ids = [q for q in self.present if q != p and q.is_numbered]
        new = any(mentions(x, q) for x in whose for q in ids)  # the milestone of an issue
        if setter or several or towards or new:
            return
        self.left.remove(p)
        if is_plural(self.head):
            self.head = p.slot
        elif p.is_numbered or p.is_coded:
            bare = re.sub(r"^\w+'s ", "", bare)  # "a customer's subscription SUB-1"
            bare = re.sub(r"(?<=\w )(?:an?|the) (?=[\w-]+$)", "", bare)  # "along a transect"
            told = re.match(rf"(.+?)( {TOLD}\b.*)$", bare)
            noun, rest = (told[1], told[2]) if told else (bare, "")
            self.head = numbered_slot(noun, p) + rest
        elif self.verb in ("add", "put") and self.act.parts and (p.sense in ADDED or is_object(p)):
            self.head = p.slot  # "add an item to the list": "add oat milk to the list"
        elif self.makes and (TITLED.match(p.sense) or p.sense in NAMED_WHEN_MADE):
            self.head = f"{self.head} called {p.slot}"
        elif p.kind == "smart_device" or any(str(v).lower().endswith(bare) for v in p.values):
            self.head = f"the {p.slot}"  # "the back door", "the garage"
        elif p.kind == "choice" and pattern("classified").search(bare):
            self.head = f"a {p.slot} {bare}"
        elif p.sense in ITSELF or p.kind == "choice":
            whole = " " not in bare or p.sense in ITSELF
            slot = f"the {p.slot}" if re.search(MACHINES, bare) else p.slot
            named = self.verb in SETTERS or any(map(is_handle, p.values))
            if p.kind == "choice" and named:
                slot, whole = f"the {slot} {bare}", True  # "the billing-eu queue"
            self.head = slot if whole else f"the {bare.rsplit(' ', 1)[0]} {p.slot}"
        elif p.sense == "last_name":
            self.head = f"{bare} {p.slot}"  # "judge Ramirez"
        else:
            self.head = f"the {bare} {in_quotes(p, p.slot)}"
