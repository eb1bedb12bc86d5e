"""The contract archive: documents with clauses and risk scores, and a register of regulations."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, listed, sample_request
from raytune_agents.agents.word_banks import BANKS
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name
from raytune_agents.records import JsonObject

CLAUSES = {
    "termination": [
        "Either party may end this with {n} days notice.",
        "Ends {n} days after breach.",
    ],
    "liability": [
        "Liability is capped at {n} thousand.",
        "No liability for delays under {n} days.",
    ],
    "confidentiality": [
        "Secrets are kept for {n} months.",
        "Copies are destroyed within {n} days.",
    ],
    "payment": ["Invoices are due in {n} days.", "Late payment costs {n} percent."],
    "warranty": ["Defects are repaired for {n} months.", "The warranty ends after {n} uses."],
}
RISKS = ("financial", "privacy", "compliance", "liability")
PLACES = ("EU", "US", "UK", "Canada", "Japan")


def make(rng: random.Random) -> State:
    """Four documents with up to two clauses of each kind, eight regulations on four topics."""
    documents = {}
    for kind, company in zip(rng.sample(BANKS["contract"], 4), rng.sample(BANKS["company"], 4)):
        clauses = [
            {"type": t, "page": rng.randint(1, 9), "text": text.format(n=rng.randint(5, 90))}
            for t, texts in CLAUSES.items()
            for text in texts[: rng.randint(0, 2)]
        ]
        scores = {risk: round(rng.uniform(0.05, 0.95), 2) for risk in RISKS}
        documents[f"{kind}_{company}.pdf"] = {"pages": 9, "clauses": clauses, "scores": scores}
    topics = rng.sample(BANKS["law_topic"], 4)
    regulations = [
        {
            "id": f"{place}-{rng.randint(100, 999)}",
            "topic": topic,
            "jurisdiction": place,
            "year": rng.randint(1995, 2024),
        }
        for topic in topics
        for place in rng.sample(PLACES, 3)
    ]
    return {"documents": documents, "regulations": regulations, "parsed": []}


def _document(state: State, name: str) -> JsonObject:
    if name not in state["documents"]:
        stem = name.rsplit(".", 1)[0]
        near = [d for d in state["documents"] if d.rsplit(".", 1)[0] == stem]
        raise ToolError(f"no document {name}" + (f"; there is {near[0]}" if near else ""))
    return state["documents"][name]


def document_parser(state: State, file: str, output_format: str, pages: int | None = None) -> Any:
    """Parse a document; parsed ones are kept in the world."""
    document = _document(state, file)
    count = min(pages or document["pages"], document["pages"])
    extension = {"text": "txt", "json": "json", "markdown": "md"}[output_format]
    name = f"{file.rsplit('.', 1)[0]}.{extension}"
    state["parsed"].append(name)
    return {"output": name, "pages": count}


def regulation_db(state: State, topic: str, jurisdiction: str, since_year: int = 0) -> Any:
    """Regulations of a place on a topic, newest first."""
    wanted = (topic.lower(), jurisdiction)
    hits = [r for r in state["regulations"] if (r["topic"], r["jurisdiction"]) == wanted]
    newest = sorted(hits, key=lambda r: -r["year"])
    return [{"id": r["id"], "year": r["year"]} for r in newest if r["year"] >= since_year]


def risk_analyzer(
    state: State, document: str, categories: list[str], threshold: float = 0.0
) -> Any:
    """Scores of the named risks above a threshold."""
    scores = _document(state, document)["scores"]
    return {c: scores[c] for c in categories if scores[c] > threshold}


def clause_extractor(state: State, document: str, clause_type: str, max_clauses: int = 5) -> Any:
    """Clauses of one kind, in the order of the document."""
    clauses = [c for c in _document(state, document)["clauses"] if c["type"] == clause_type]
    return [{"page": c["page"], "text": c["text"]} for c in clauses[:max_clauses]]


# --- goals ----------------------------------------------------------------------------------------


def _name(state: State, rng: random.Random) -> str:
    return rng.choice(sorted(state["documents"]))


def wrong_extension(state: State, rng: random.Random) -> Script:
    """The file goes by another extension; the error says which."""
    real, kind = _name(state, rng), rng.choice(sorted(CLAUSES))
    misnamed = real.replace(".pdf", ".docx")
    yield sample_request(rng, "wrong_extension", kind=kind, document=misnamed)
    thought = "I try the file as it was named."
    found = yield act(thought, "clause_extractor", document=misnamed, clause_type=kind)
    if "error" in found:
        thought = f"The archive has {real} instead, so I use that."
        found = yield act(thought, "clause_extractor", document=real, clause_type=kind)
    texts = [c["text"] for c in found]
    answer = f"{real} has {len(texts)} {kind} clauses: {' '.join(texts) or 'none.'}"
    yield Say(answer, (real, str(len(texts)), *texts))


def worst_risk_rules(state: State, rng: random.Random) -> Script:
    """Rate two risks; look up the rules only if one is high."""
    name, threshold = _name(state, rng), rng.choice([0.4, 0.5, 0.6])
    one, two = rng.sample(RISKS, 2)
    rule = rng.choice(state["regulations"])
    topic, place = rule["topic"], rule["jurisdiction"]
    asked = {"document": name, "threshold": threshold, "place": place, "topic": topic}
    yield sample_request(rng, "worst_risk_rules", one=one, two=two, **asked)
    thought = "I rate the risks first."
    scores = yield act(thought, "risk_analyzer", document=name, categories=[one, two])
    high = [c for c in (one, two) if scores[c] > threshold]
    if not high:
        answer = (
            f"No risk of {name} is above {threshold}: {one} {scores[one]}, {two} {scores[two]}."
        )
        yield Say(answer, (str(scores[one]), str(scores[two])))
        return
    thought = f"{listed(high)} above {threshold}, so I look up the rules."
    found = yield act(thought, "regulation_db", topic=topic, jurisdiction=place)
    ids = [r["id"] for r in found]
    answer = f"High: {listed([f'{c} {scores[c]}' for c in high])}. Regulations: {listed(ids)}."
    yield Say(answer, (*high, *ids))


def riskier_of_two(state: State, rng: random.Random) -> Script:
    """Rate two documents and parse the riskier one."""
    one, two = rng.sample(sorted(state["documents"]), 2)
    kind, form = rng.choice(RISKS), rng.choice(["text", "json", "markdown"])
    yield sample_request(rng, "riskier_of_two", kind=kind, one=one, two=two, form=form)
    a = yield act(f"I rate {one} first.", "risk_analyzer", document=one, categories=[kind])
    thought = f"{one} scores {a[kind]}. Now {two}."
    b = yield act(thought, "risk_analyzer", document=two, categories=[kind])
    worse, score = (one, a[kind]) if a[kind] >= b[kind] else (two, b[kind])
    thought = f"{worse} is riskier with {score}; I parse it."
    made = yield act(thought, "document_parser", file=worse, output_format=form)
    answer = f"{worse} has the higher {kind} risk ({score}); it is in {made['output']}."
    yield Say(answer, (worse, str(score), made["output"]))


def newest_rule(state: State, rng: random.Random) -> Script:
    """The newest regulation in two places."""
    topic = rng.choice(state["regulations"])["topic"]
    one, two = rng.sample(sorted({r["jurisdiction"] for r in state["regulations"]}), 2)
    yield sample_request(rng, "newest_rule", topic=topic, one=one, two=two)
    sentences, facts = [], []
    for thought, where in ((f"I look up {one}.", one), (f"I look up {two} as well.", two)):
        found = yield act(thought, "regulation_db", topic=topic, jurisdiction=where)
        newest = f"{found[0]['id']} of {found[0]['year']}" if found else "no entry"
        sentences.append(f"{where}: {newest}.")
        facts.append(newest.split(" of ")[0])
    yield Say(" ".join(sentences), tuple(facts))


class LegalWorld(SeededWorld):
    agent, make = "legal", make
    tools = by_name(document_parser, regulation_db, risk_analyzer, clause_extractor)
    goals = by_name(wrong_extension, worst_risk_rules, riskier_of_two, newest_rule)
