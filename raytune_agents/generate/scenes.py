"""A situation, and the texts that belong to it: a day, places, people, then everything by kind.

Cities go with their country, airport and currency, a name with its email address, an end with its
start. Names, jobs and numbers of papers come from Mimesis, the rest from `data/values.yaml`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any

from mimesis import Generic

from raytune_agents.generate.codes import DAYS, NEW_YEAR, NoValue
from raytune_agents.generate.kind_table import banks
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.ways_said import COUNTED, day_in
from raytune_agents.generate.wordlists import compiled, pattern, regex, word_data

# a tool that is about works
WORKS = regex("works")


@dataclass(frozen=True)
class City:
    """A city with what goes with it."""

    city: str
    country: str
    code: str
    airport: str
    currency: str
    timezone: str
    state: str
    state_code: str


@cache
def cities() -> tuple[City, ...]:
    return tuple(City(*line.split("|")) for line in banks()["places"])


@lru_cache(maxsize=1)
def _mimesis() -> Generic:
    return Generic()


class Scene:
    """One situation: the present day, places, people, and what was drawn of them so far."""

    def __init__(self, rng: random.Random, context: str = "", stated: bool = False):
        self.rng, self.context = rng, context
        self.today = NEW_YEAR + timedelta(rng.randrange(DAYS))
        past = r"^(get|list|fetch|retrieve|show|find|search|report|analy)"
        self.past = bool(re.search(past, context)) and not pattern("upcoming").search(context)
        # Where a state is asked for, the places lie in one.
        self.places = rng.sample([c for c in cities() if c.state or not stated], 4)
        self.people: dict[str, tuple[str, str]] = {}
        self.start: date | None = None
        self.day_form: int | None = None  # how days are said
        self.nights = 0
        self.money: list[str] = []  # currencies in use: one is not exchanged for itself
        self.meal = ""  # breakfast is not at nine in the evening
        self.repository = ""
        self.file = ""  # that is moved or copied
        self.ticket = ""
        self.maker = ""  # who made the song or book that was spoken of

    def place(self, role: str) -> City:
        """The place of a role: where one goes to is not where one comes from."""
        return self.places[{"from": 1, "to": 0}.get(role, 0)]

    def person(self, who: str) -> tuple[str, str]:
        """First and last name of whom a parameter speaks of; one person for one word."""
        if who not in self.people:
            made = _mimesis().person
            made.reseed(self.rng.getrandbits(32))
            self.people[who] = (made.first_name(), made.last_name())
        return self.people[who]

    def day(self, role: str, kind: str = "") -> date:
        """A day that suits a role: the end after the start, a birthday long ago."""
        if kind == "birth":
            return self.today - timedelta(self.rng.randint(19 * 365, 70 * 365))
        if self.start is None:
            ahead = self.rng.randint(2, 90)
            self.start = self.today + timedelta(-ahead - 30 if self.past else ahead)
        if role in ("to", "max", "due", "expires"):
            self.nights = self.nights or self.rng.randint(1, 10)
            return self.start + timedelta(self.nights)
        return self.start

    def pick(self, bank: str) -> str:
        """A text of a bank, with its {words} drawn."""
        text = self.rng.choice(banks()[bank])
        return re.sub(r"\{(\w+)\}", lambda m: self._word(m[1]), text)

    def work(self, bank: str) -> str:
        """A song, album or book: of the maker that was drawn, if any."""
        makers = banks()["made_by"][bank]
        mine = [title for title, maker in makers.items() if maker == self.maker]
        chosen = self.rng.choice(mine or list(makers))
        self.maker = makers[chosen]
        return chosen

    def trouble(self, part: int) -> str:
        """The subject (0) or the text (1) of one and the same ticket."""
        self.ticket = self.ticket or self.rng.choice(banks()["troubles"])
        return self.ticket.split("|")[part]

    def repo(self) -> str:
        """The repository that the request is about: acme/checkout."""
        self.repository = self.repository or self.rng.choice(banks()["repos"])
        return self.repository

    def _word(self, name: str) -> str:
        return self.places[2].city if name == "city" else self.person("other")[0]


# --- texts by kind --------------------------------------------------------------------------------


def who_of(p: Parameter) -> str:
    """The person that a parameter speaks of: customer_email and customer_name are one."""
    plain = r"\b(full|first|last|given|family|e ?mail|address|name|phone|number|user ?name|s)\b"
    words = re.sub(plain, " ", re.sub(r"s$", "", p.words))
    return " ".join(words.split())


def date_form_of(values: Sequence[Any]) -> str:
    """How strftime writes a day as the values do, "" where none shows it."""
    texts = list(map(str, values))
    for shape, made in DATE_FORMS.items():
        if any(re.fullmatch(shape, t) for t in texts):
            return made
    return ""


def _date_text(day: date, p: Parameter) -> str:
    """The day in the form that the description or an example shows; ISO where neither does."""
    if named := NAMED_DAY.match(p.about):  # "Monday of the week"
        day += timedelta(banks()["weekdays"].index(named[1].capitalize()) - day.weekday())
    form = pattern("date_form").search(p.about)
    if form:
        return day_in(form[0].upper(), day)
    return day.strftime(date_form_of(p.values) or "%Y-%m-%d")


def _dates(scene: Scene, p: Parameter) -> str:
    """A day, or two where the examples show a range: "2025-10-05 to 2025-10-12"."""
    if p.role == "birth":
        return _date_text(scene.day(p.role, "birth"), p)
    for ends in filter(None, (DATE_RANGE.fullmatch(str(v)) for v in p.values)):
        each = replace(p, examples=(json.dumps(ends[1]),))
        first, last = (_date_text(scene.day(role), each) for role in ("from", "to"))
        return f"{first}{ends[2]}{last}"
    return _date_text(scene.day(p.role), p)


DATE_RANGE = re.compile(r"([\d./-]{8,10})( to | - | – |/|\.\.)([\d./-]{8,10})")
NAMED_DAY = re.compile(r"(?:the )?((?:mon|tues|wednes|thurs|fri|satur|sun)day)\b", re.I)
DATE_FORMS: dict[str, str] = word_data("names")["date_forms"]


MEALS = {"breakfast": (7, 10), "brunch": (10, 12), "lunch": (12, 14), "dinner": (18, 21)}


def _year(scene: Scene, p: Parameter) -> int:
    if re.search(r"\b(former|historic|archive|ancient|old)", scene.context):
        return scene.rng.randint(1850, 1949)
    if re.search(r"\b(birth|born)\b", p.words):
        return scene.day(p.role, "birth").year
    year, told = scene.day(p.role).year, f"{p.words}, {p.about}"
    if pattern("made_then").search(told) or (not p.role and re.search(WORKS, scene.context)):
        return year - scene.rng.randint(1, 45 if re.search(WORKS, scene.context) else 20)
    return year - (scene.rng.randint(0, 6) if scene.past else 0)


def _clock(scene: Scene, p: Parameter) -> str:
    early, late = MEALS.get(scene.meal, (8, 12 if p.role == "from" else 15))  # before its end
    hour = scene.rng.randint(early, late) + (5 if p.role in ("to", "max") and not scene.meal else 0)
    minute = scene.rng.choice(("00", "15", "30", "45", "00"))
    if re.search(r"AM/PM|am/pm|\d ?[ap]m\b", p.about + " ".join(map(str, p.values)), re.I):
        return f"{(hour - 1) % 12 + 1:02}:{minute} {'PM' if hour >= 12 else 'AM'}"
    return f"{hour:02}:{minute}"


def _datetime(scene: Scene, p: Parameter) -> str:
    day, clock = scene.day("from"), _clock(scene, p)
    spaced = re.search(r"YYYY-MM-DD HH:MM", p.about) or any(
        re.match(r"\d{4}-\d\d-\d\d \d", str(e)) for e in p.values
    )
    if spaced:
        seconds = ":00" if re.search(r"HH:MM:SS", p.about) else ""
        return f"{day} {clock}{seconds}"
    zoned = re.search(r"Z\b|UTC", p.about) or any(str(e).endswith("Z") for e in p.values)
    return f"{day}T{clock}:00" + ("Z" if zoned else "")


def _unix_time(scene: Scene, p: Parameter) -> int:
    noon = datetime.combine(scene.day(p.role), time(12), UTC).timestamp()
    seconds = int(noon) + 900 * scene.rng.randint(-16, 24)
    return seconds * (1000 if re.search(r"milli|\bms\b", f"{p.words} {p.about}") else 1)


def _end_of(p: Parameter) -> str:
    """The role of a place, the second of two the place where one comes from."""
    return "from" if pattern("second_of_two").search(p.words) else p.role


def _city(scene: Scene, p: Parameter) -> str:
    place = scene.place(_end_of(p))
    form = p.about + " ".join(map(str, p.values))
    if pattern("city_country").search(form):
        return f"{place.city}, {place.country}"
    if re.search(r"\b[A-Z][a-z]+, [A-Z]{2}\b|city and state|city, state", form):
        return f"{place.city}, {place.code}"
    return place.city


def _state(scene: Scene, p: Parameter) -> str:
    place = scene.place(p.role)
    coded = re.search(r"\bcode\b|\bletter", f"{p.words} {p.about}") or any(
        re.fullmatch("[A-Z]{2}", str(v)) for v in p.values
    )
    return place.state_code if coded else place.state


def _email(scene: Scene, p: Parameter) -> str:
    first, last = (re.sub(r"[^a-z]", "", n.lower()) for n in scene.person(who_of(p)))
    host = scene.rng.choice(banks()["mail_hosts"])
    return scene.rng.choice((f"{first}.{last}", f"{first}{last[:1]}", f"{first[:1]}.{last}")) + (
        f"@{host}"
    )


def _phone(scene: Scene, p: Parameter) -> Any:
    number = scene.rng.randint(100, 999)
    if p.type == "integer":
        return int(f"1202555{number:04}")
    return f"+1-{scene.rng.choice((202, 303, 415, 617, 718))}-555-0{number}"


def _query(scene: Scene, p: Parameter) -> str:
    text = f"{scene.context} {p.about.lower()} {p.words}"
    fitting = (b for b in banks()["queries"] if compiled(rf"\b({b['about']})").search(text))
    bank = next(fitting, None)
    if bank is None:
        raise NoValue(f"{p.name}: nothing says what is looked for")
    return scene.rng.choice(bank["texts"])


def _id(scene: Scene, p: Parameter) -> Any:
    digits = re.search(rf"\b(\d{{1,2}}|{'|'.join(COUNTED[4:11])})[- ]digits?\b", p.about, re.I)
    count = digits[1].lower() if digits else "0"
    size = COUNTED.index(count) if count in COUNTED else int(count)
    if p.is_number and not size:
        few = re.fullmatch(r"\w+ number\W*", p.about, re.I) and not re.search(r"no|num|id", p.words)
        if pattern("which_one").search(p.noun):
            return scene.rng.randint(1, 9)  # a round
        return scene.rng.randint(2, 60) if few else scene.rng.randint(1001, 99999)
    if size:
        start = pattern("starts_with").search(p.about)
        number = "".join(scene.rng.choice("123456789") for _ in range(size))
        return int(number) if p.is_number else (start[1] if start else "") + number
    if prefix := re.search(r"\b([a-z]{2,6}_)(?:\.\.\.|…|x{3,}|\*)", p.about):  # "cus_..."
        letters = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        return prefix[1] + "".join(scene.rng.choices(letters, k=8))
    # one form for all ids of a name, so that a catalogue's ids look alike
    style = sum(map(ord, p.noun)) % 3
    of_what = re.sub(r"\W+(number|code|id|name|reference|key)\b", "", p.noun)
    short = re.sub(r"[^a-z]", "", of_what.split()[-1] if of_what else "") or "ref"
    number = scene.rng.randint(1001, 98999)
    return (f"{short[:3].upper()}-{number}", f"{short[0].upper()}{number}", str(number))[style]


def _street(scene: Scene, p: Parameter) -> str:
    made = _mimesis().address
    made.reseed(scene.rng.getrandbits(32))
    text = f"{scene.rng.randint(1, 240)} {made.street_name()} {made.street_suffix()}"
    whole = re.search(r"full|postal|shipping|delivery|including city", p.about, re.I)
    return f"{text}, {scene.place(p.role).city}" if whole else text


def _by_mimesis(provider: str, method: str) -> Any:
    def made(scene: Scene, p: Parameter) -> str:
        source = getattr(_mimesis(), provider)
        source.reseed(scene.rng.getrandbits(32))
        return str(getattr(source, method)())

    return made


def _isbn(scene: Scene, p: Parameter) -> str:
    """Of 13 digits, the last of which checks the others."""
    start = f"978{scene.rng.randrange(10**9):09}"
    return f"{start}{-sum(int(d) * (1, 3)[k % 2] for k, d in enumerate(start)) % 10}"


def _currency(scene: Scene, p: Parameter) -> str:
    pair = scene.rng.sample(banks()["currencies"], 2)
    chosen = next(c for c in pair if c not in scene.money)
    scene.money.append(chosen)
    return chosen


def _url(scene: Scene, p: Parameter) -> str:
    paths = banks()["url_paths"]
    if re.search(r"photo|image|picture|avatar|logo", p.words):
        paths = [f"/{name}" for name in banks()["images"]]
    wanted = str(p.detail.get("pattern", ""))
    if form := next((f for f in ("pdf", "png", "jpg", "csv", "html") if f in wanted), ""):
        paths = [f"{re.sub('[.].*', '', path)}.{form}" for path in paths if len(path) > 1]
    return f"https://www.{scene.pick('domains')}{scene.rng.choice(paths)}"


def _shape(scene: Scene, p: Parameter) -> Any:
    import rstr

    text = rstr.Rstr(scene.rng).xeger(word_data("names")["shapes"][p.kind])
    return int(text) if p.type == "integer" and text.isdigit() else text


def _span(scene: Scene, p: Parameter) -> list[int]:
    """A start and an end, as on a clock that counts minutes."""
    start = 5 * scene.rng.randint(0, 18)
    return [start, start + 5 * scene.rng.randint(1, 8)]


GENERATORS = {
    "span": _span,
    "point": lambda s, p: [s.rng.randint(0, 9), s.rng.randint(0, 9)],
    "email": _email,
    "phone": _phone,
    "query": _query,
    "prompt": _query,
    "keyword": _query,
    "id": _id,
    "street": _street,
    "city": _city,
    "currency": _currency,
    "datetime": _datetime,
    "trouble_title": lambda s, p: s.trouble(0),
    "trouble": lambda s, p: s.trouble(1),
    "unix_time": _unix_time,
    "time": _clock,
    "date": _dates,
    "month": lambda s, p: (
        f"{s.day(p.role):%Y-%m}" if re.search("YYYY-MM", p.about) else f"{s.day(p.role):%B}"
    ),
    "iso_week": lambda s, p: f"{s.day(p.role):%G-W%V}",
    "year": _year,
    "country": lambda s, p: s.place(_end_of(p)).country,
    "country_code": lambda s, p: s.place(p.role).code,
    "iata": lambda s, p: s.place(p.role).airport,
    "timezone": lambda s, p: s.place(p.role).timezone,
    "state": _state,
    "first_name": lambda s, p: s.person(who_of(p))[0],
    "last_name": lambda s, p: s.person(who_of(p))[1],
    "person": lambda s, p: " ".join(s.person(who_of(p))),
    "username": lambda s, p: re.sub(
        r"[^a-z._]", "", "{0[0]}.{0[1]}".format(s.person(who_of(p))).lower()
    ),
    "url": _url,
    "flight": lambda s, p: f"{s.pick('flights')}{s.rng.randint(102, 3989)}",
    "latlon": lambda s, p: f"{s.rng.uniform(-45, 60):.4f}, {s.rng.uniform(-120, 140):.4f}",
    "latitude": lambda s, p: f"{s.rng.uniform(-45, 60):.4f}",
    "longitude": lambda s, p: f"{s.rng.uniform(-120, 140):.4f}",
    "mac": _by_mimesis("internet", "mac_address"),
    "isbn": _isbn,
    "barcode": _by_mimesis("code", "ean"),
    "repo_owner": lambda s, p: s.repo().split("/")[0],
    "card": _by_mimesis("payment", "credit_card_number"),
}
GENERATORS |= dict.fromkeys(("repo_name", "new_repo"), lambda s, p: s.repo().split("/")[1])
GENERATORS |= dict.fromkeys(word_data("names")["shapes"], _shape)
