"""A library's desk as a world: what calls do to it, and whether the reader got what was asked."""

import random

BOOKS = ["Dune", "Emma", "Hamlet", "Ivanhoe", "Middlemarch", "Persuasion", "Ulysses", "Walden"]
READERS = ["Ada Moss", "Ben Okoro", "Chloe Lind", "Dario Ruiz", "Esra Kaya", "Finn Berg"]
MOST_LOANS = 3  # books that one reader may hold


class Library:
    """A task is {loans: {title: reader}, wanted: {title: reader}}: the desk before and after."""

    def reset(self, task):
        self.loans, self.wanted = dict(task["loans"]), task["wanted"]
        return self.loans

    def call(self, name, arguments):
        return getattr(self, f"_{name}")(**arguments)

    def goal(self, loans):
        return loans == self.wanted

    def _find_book(self, title):
        self._known(title)
        return {"title": title, "lent_to": self.loans.get(title)}

    def _lend_book(self, title, reader):
        self._known(title)
        if title in self.loans:
            raise ValueError(f"{title} is lent to {self.loans[title]}")
        if list(self.loans.values()).count(reader) >= MOST_LOANS:
            raise ValueError(f"{reader} has {MOST_LOANS} books; one must come back first")
        self.loans[title] = reader
        return {"title": title, "lent_to": reader}

    def _return_book(self, title):
        if title not in self.loans:
            raise ValueError(f"{title} is not lent")
        return {"title": title, "returned_by": self.loans.pop(title)}

    def _known(self, title):
        if title not in BOOKS:
            raise ValueError(f"no book {title!r}; there are {', '.join(BOOKS)}")

    def tasks(self, seed, count):
        """Tasks of its own making: a return, a loan, an exchange, a question about a book."""
        rng = random.Random(seed)
        return [rng.choice((_returned, _lent, _exchanged, _asked))(rng) for _ in range(count)]


def _some_loans(rng):
    return {title: rng.choice(READERS) for title in rng.sample(BOOKS, 3)}


def _task(request, calls, answer, facts, loans, wanted):
    calls = [{"name": name, "arguments": arguments} for name, arguments in calls]
    task = {"loans": loans, "wanted": wanted}
    return {"request": request, "calls": calls, "answer": answer, "facts": facts, "task": task}


def _without(loans, title):
    return {t: r for t, r in loans.items() if t != title}


def _returned(rng):
    loans = _some_loans(rng)
    title = rng.choice(list(loans))
    said = rng.choice(["{title} is back, please book it in.", "Take {title} off {reader}'s card.",
                       "{reader} has just brought {title} back."])  # fmt: skip
    return _task(said.format(title=title, reader=loans[title]), [("return_book", {"title": title})],
                 f"{title} is back.", [title], loans, _without(loans, title))  # fmt: skip


def _lent(rng):
    loans, reader = _some_loans(rng), rng.choice(READERS)
    title = rng.choice([t for t in BOOKS if t not in loans])
    if list(loans.values()).count(reader) >= MOST_LOANS:
        return _lent(rng)
    said = rng.choice(["{reader} would like to take {title} home.", "Lend {title} to {reader}.",
                       "Put {title} on the card of {reader}, please."])  # fmt: skip
    call = ("lend_book", {"title": title, "reader": reader})
    wanted = loans | {title: reader}
    return _task(said.format(title=title, reader=reader), [call],
                 f"{title} is lent to {reader}.", [title], loans, wanted)  # fmt: skip


def _exchanged(rng):
    loans = _some_loans(rng)
    old = rng.choice(list(loans))
    new, reader = rng.choice([t for t in BOOKS if t not in loans]), loans[old]
    calls = [("return_book", {"title": old}), ("lend_book", {"title": new, "reader": reader})]
    said = rng.choice(["{reader} brings {old} back and takes {new}.",
                       "Exchange {old} for {new} on the card of {reader}."])  # fmt: skip
    return _task(said.format(reader=reader, old=old, new=new), calls,
                 f"{old} is back and {new} is lent to {reader}.", [new],
                 loans, _without(loans, old) | {new: reader})  # fmt: skip


def _asked(rng):
    loans = _some_loans(rng)
    title = rng.choice(list(loans))
    said = rng.choice(["Who has {title}?", "Is {title} in? If not, who has it?"])
    return _task(said.format(title=title), [("find_book", {"title": title})],
                 f"{loans[title]} has {title}.", [loans[title]], loans, loans)  # fmt: skip
