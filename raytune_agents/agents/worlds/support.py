"""The support desk: tickets, help articles, live chat and email."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, sample_request
from raytune_agents.agents.word_banks import BANKS, fill
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name
from raytune_agents.records import JsonObject


def make(rng: random.Random) -> State:
    """Four customers, eight tickets (every customer has an open one), six articles."""
    first, last = rng.sample(BANKS["first"], 4), rng.sample(BANKS["last"], 4)
    customers = [f"{a}.{b}@example.com" for a, b in zip(first, last)]
    numbers = rng.sample(range(1000, 5000), 8)
    tickets = {}
    for i, (number, subject) in enumerate(zip(numbers, rng.sample(BANKS["problem"], 8))):
        tickets[f"T-{number}"] = {
            "customer": customers[i % 4],
            "subject": subject,
            "priority": rng.choice(["low", "normal"]),
            "status": "open" if i < 4 or rng.random() < 0.5 else "closed",
            "opened": f"2025-{i % 6 + 1:02}-{rng.randint(1, 28):02}",
        }
    titles = rng.sample(BANKS["howto"], 6)
    articles = [
        {
            "id": f"KB-{rng.randint(10, 99)}{i}",
            "title": t[:1].upper() + t[1:],
            "language": "english" if i < 4 else rng.choice(["german", "french", "spanish"]),
        }
        for i, t in enumerate(titles)
    ]
    return {"tickets": tickets, "articles": articles, "chats": [], "emails": [], "next": 5001}


def _known(state: State, customer: str) -> None:
    if customer not in {t["customer"] for t in state["tickets"].values()}:
        raise ToolError(f"no customer {customer}")


def _ticket(state: State, ticket_id: str | None, customer: str) -> JsonObject:
    if not ticket_id:
        raise ToolError("ticket_id is missing")
    ticket = state["tickets"].get(ticket_id)
    if ticket is None or ticket["customer"] != customer:
        raise ToolError(f"{customer} has no ticket {ticket_id}")
    if ticket["status"] == "closed":
        raise ToolError(f"ticket {ticket_id} is closed; create a new one")
    return ticket


def ticketing_system(
    state: State,
    action: str,
    customer: str,
    subject: str | None = None,
    ticket_id: str | None = None,
    priority: str | None = None,
) -> Any:
    """Create, escalate, close or find tickets; a closed ticket can only be found."""
    _known(state, customer)
    if action == "find":
        own = ((i, t) for i, t in state["tickets"].items() if t["customer"] == customer)
        return [{"id": i} | {k: v for k, v in t.items() if k != "customer"} for i, t in own]
    if action == "create":
        if not subject:
            raise ToolError("subject is missing")
        name = f"T-{state['next']}"
        state["next"] += 1
        state["tickets"][name] = {
            "customer": customer,
            "subject": subject,
            "status": "open",
            "priority": priority or "normal",
            "opened": "2025-07-01",
        }
        return {"ticket_id": name, "status": "open", "priority": priority or "normal"}
    ticket = _ticket(state, ticket_id, customer)
    if action == "close":
        ticket["status"] = "closed"
        return {"ticket_id": ticket_id, "status": "closed"}
    ticket["priority"] = priority or "urgent"
    return {"ticket_id": ticket_id, "priority": ticket["priority"]}


def knowledge_base(
    state: State, query: str, language: str = "english", max_results: int = 3
) -> Any:
    """Articles of the language that share words with the query, best first."""
    wanted = set(query.lower().split())
    shared = {a["id"]: len(wanted & set(a["title"].lower().split())) for a in state["articles"]}
    hits = [a for a in state["articles"] if a["language"] == language and shared[a["id"]]]
    best = sorted(hits, key=lambda a: (-shared[a["id"]], a["id"]))[:max_results]
    return [{"id": a["id"], "title": a["title"]} for a in best]


def chat(state: State, customer: str, message: str, channel: str = "web") -> Any:
    """Send a chat message."""
    _known(state, customer)
    state["chats"].append([customer, message, channel])
    return {"sent": True, "channel": channel}


def email(state: State, to: str, subject: str, body: str) -> Any:
    """Send an email."""
    state["emails"].append([to, subject, body])
    return {"sent": True, "message_id": f"M-{len(state['emails'])}"}


# --- goals ----------------------------------------------------------------------------------------


def _customer(state: State, rng: random.Random, waits: bool = False) -> str:
    """Who has a ticket; with `waits`, an open one."""
    tickets = [t for t in state["tickets"].values() if not waits or t["status"] == "open"]
    return rng.choice(sorted({t["customer"] for t in tickets}))


def escalate_oldest(state: State, rng: random.Random) -> Script:
    """Find the tickets, pick the oldest open one, escalate it."""
    who, priority = _customer(state, rng, waits=True), rng.choice(["high", "urgent"])
    yield sample_request(rng, "escalate_oldest", customer=who, priority=priority)
    thought = "I have to see the customer's tickets first."
    found = yield act(thought, "ticketing_system", action="find", customer=who)
    oldest = min((t for t in found if t["status"] == "open"), key=lambda t: t["opened"])
    thought = f"{oldest['id']} from {oldest['opened']} is the oldest open ticket; I escalate it."
    raised = {"customer": who, "ticket_id": oldest["id"], "priority": priority}
    yield act(thought, "ticketing_system", action="escalate", **raised)
    yield Say(f"Ticket {oldest['id']} is now at {priority} priority.", (oldest["id"], priority))


def create_and_email(state: State, rng: random.Random) -> Script:
    """Create a ticket, then write its number to the customer."""
    case = {"customer": _customer(state, rng), "subject": rng.choice(BANKS["problem"])}
    yield sample_request(rng, "create_and_email", **case)
    thought = "First the ticket, so that there is a number to send."
    made = yield act(thought, "ticketing_system", action="create", **case)
    who, number = case["customer"], made["ticket_id"]
    thought = f"The ticket is {number}. Now I write to the customer."
    body = f"We opened ticket {number} about {case['subject']}"
    yield act(thought, "email", to=who, subject=number, body=body)
    yield Say(f"I created ticket {number} and emailed it to {who}.", (number,))


def article_to_chat(state: State, rng: random.Random) -> Script:
    """Look an article up and send its title."""
    who = _customer(state, rng)
    article = rng.choice([a for a in state["articles"] if a["language"] == "english"])
    topic = article["title"][:1].lower() + article["title"][1:]
    channel = rng.choice(["web", "mobile", "whatsapp"])
    yield sample_request(rng, "article_to_chat", topic=topic, customer=who, channel=channel)
    found = yield act("I search the knowledge base for the article.", "knowledge_base", query=topic)
    title = found[0]["title"]
    thought = f'The best match is "{title}"; I send it.'
    yield act(thought, "chat", customer=who, message=title, channel=channel)
    yield Say(f'I sent "{title}" to {who}.', (title,))


def escalate_or_reopen(state: State, rng: random.Random) -> Script:
    """The ticket turns out to be closed: a new one takes its place."""
    closed = sorted(i for i, t in state["tickets"].items() if t["status"] == "closed")
    opened = sorted(i for i, t in state["tickets"].items() if t["status"] == "open")
    ticket_id = rng.choice(closed or opened)
    ticket = state["tickets"][ticket_id]
    case = {"customer": ticket["customer"], "subject": ticket["subject"]}
    yield sample_request(rng, "escalate_or_reopen", ticket_id=ticket_id, **case)
    raised = {"customer": case["customer"], "ticket_id": ticket_id, "priority": "urgent"}
    thought = f"I try to escalate {ticket_id}."
    result = yield act(thought, "ticketing_system", action="escalate", **raised)
    if "error" not in result:
        yield Say(f"Ticket {ticket_id} is now urgent.", (ticket_id,))
        return
    thought = f"{ticket_id} is closed, so I create a new ticket as asked."
    made = yield act(thought, "ticketing_system", action="create", **case, priority="urgent")
    number = made["ticket_id"]
    yield Say(f"{ticket_id} is closed, so I created {number} with urgent priority.", (number,))


def close_open(state: State, rng: random.Random) -> Script:
    """Close every open ticket of a customer, one by one, then tell them."""
    message = {"customer": _customer(state, rng), "message": fill("{reply}", rng)}
    who = message["customer"]
    yield sample_request(rng, "close_open", **message)
    thought = "I need the list of tickets to know which are open."
    found = yield act(thought, "ticketing_system", action="find", customer=who)
    open_ids = [t["id"] for t in found if t["status"] == "open"]
    for i, ticket in enumerate(open_ids, 1):
        thought = f"{ticket} is open ({i} of {len(open_ids)}); I close it."
        yield act(thought, "ticketing_system", action="close", customer=who, ticket_id=ticket)
    yield act("All are closed; now the message.", "chat", **message)
    yield Say(f"I closed {' and '.join(open_ids)} and sent the message.", tuple(open_ids))


class SupportWorld(SeededWorld):
    agent, make = "support", make
    tools = by_name(ticketing_system, knowledge_base, chat, email)
    goals = by_name(
        escalate_oldest, create_and_email, article_to_chat, escalate_or_reopen, close_open
    )
