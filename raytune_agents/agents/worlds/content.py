"""The content desk: drafts, search ranks of pages, a posting calendar and mailings."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, sample_request
from raytune_agents.agents.word_banks import BANKS
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name

PLATFORMS = ("LinkedIn", "Instagram", "Facebook", "Mastodon")
TITLES = ["All about {topic}", "{topic} made simple", "Why {topic} matters", "A guide to {topic}"]


def make(rng: random.Random) -> State:
    """Two pages with the rank of four keywords, some taken posting times, a fixed today."""
    urls = [
        f"https://{c}.example.com/{rng.choice(BANKS['page'])}"
        for c in rng.sample(BANKS["company"], 2)
    ]
    ranks = {u: {k: rng.randint(1, 60) for k in rng.sample(BANKS["keyword"], 4)} for u in urls}
    taken = [f"{p} 2026-0{rng.randint(3, 9)}-{rng.randint(10, 28)} 09:00" for p in PLATFORMS]
    return {
        "today": "2026-02-15",
        "ranks": ranks,
        "taken": taken,
        "drafts": [],
        "posts": [],
        "mailings": [],
    }


def content_generator(
    state: State, kind: str, topic: str, tone: str = "friendly", words: int = 200
) -> Any:
    """Write a draft; its title follows from topic, kind and tone."""
    pick = (len(topic) + len(kind) + len(tone)) % len(TITLES)
    title = TITLES[pick].format(topic=topic)
    draft = {"draft_id": f"D-{len(state['drafts']) + 1}", "title": title[:1].upper() + title[1:]}
    state["drafts"].append(draft | {"kind": kind, "words": words})
    return draft


def seo_analyzer(state: State, url: str, keywords: list[str], device: str = "desktop") -> Any:
    """The rank of a page for each keyword; phones rank three places lower."""
    if url not in state["ranks"]:
        raise ToolError(f"{url} is not indexed")
    ranks = state["ranks"][url]
    shift = 3 if device == "mobile" else 0
    return {k: ranks[k] + shift if k in ranks else None for k in keywords}


def social_scheduler(state: State, platform: str, text: str, date: str, time: str = "09:00") -> Any:
    """Plan a post; the past and taken times are refused."""
    if date < state["today"]:
        raise ToolError(f"{date} is in the past; today is {state['today']}")
    slot = f"{platform} {date} {time}"
    if slot in state["taken"]:
        hour = int(time[:2])
        raise ToolError(f"{time} is taken on {platform}; free is {hour + 2:02}:{time[3:]}")
    state["taken"].append(slot)
    post = f"P-{len(state['posts']) + 1}"
    state["posts"].append([post, slot, text])
    return {"post_id": post, "at": f"{date} {time}"}


def email_builder(
    state: State, template: str, audience: str, subject: str, send_date: str | None = None
) -> Any:
    """Build a mailing."""
    if send_date is not None and send_date < state["today"]:
        raise ToolError(f"{send_date} is in the past; today is {state['today']}")
    name = f"E-{len(state['mailings']) + 1}"
    state["mailings"].append([name, template, audience, subject, send_date])
    return {"mailing_id": name, "status": "planned" if send_date else "draft"}


# --- goals ----------------------------------------------------------------------------------------


def _date(rng: random.Random) -> str:
    return f"2026-{rng.randint(3, 12):02}-{rng.randint(1, 28):02}"


def write_and_post(state: State, rng: random.Random) -> Script:
    """The title of a new draft becomes the post."""
    text = {"kind": rng.choice(["article", "tutorial", "slogan"])}
    text["topic"] = rng.choice(BANKS["topic"])
    platform, when = rng.choice(PLATFORMS), {"date": _date(rng), "time": "11:00"}
    yield sample_request(rng, "write_and_post", **text, platform=platform, **when)
    thought = "The text comes first, so that there is a title."
    draft = yield act(thought, "content_generator", **text)
    title = draft["title"]
    thought = f'The title is "{title}"; I schedule it.'
    post = yield act(thought, "social_scheduler", platform=platform, text=title, **when)
    answer = f'"{title}" is planned as {post["post_id"]} on {platform} for {post["at"]}.'
    yield Say(answer, (title, post["post_id"]))


def worst_keyword(state: State, rng: random.Random) -> Script:
    """Find the keyword with the worse rank and write about it."""
    url = rng.choice(sorted(state["ranks"]))
    one, two = rng.sample(sorted(state["ranks"][url]), 2)
    tone = rng.choice(["formal", "friendly", "playful", "technical"])
    yield sample_request(rng, "worst_keyword", url=url, one=one, two=two, tone=tone)
    ranks = yield act("I check both keywords.", "seo_analyzer", url=url, keywords=[one, two])
    worse = max((one, two), key=lambda k: ranks[k])
    thought = f"{worse} ranks worse, at {ranks[worse]}; I write about it."
    draft = yield act(thought, "content_generator", kind="article", topic=worse, tone=tone)
    answer = f"{worse} ranks at {ranks[worse]}; the article is draft {draft['draft_id']}."
    yield Say(answer, (worse, str(ranks[worse]), draft["draft_id"]))


def taken_slot(state: State, rng: random.Random) -> Script:
    """The time is taken; the error names a free one."""
    platform, date, time = rng.choice(state["taken"]).split()
    text = rng.choice(BANKS["post"])
    yield sample_request(rng, "taken_slot", text=text, platform=platform, date=date, time=time)
    post = {"platform": platform, "text": text, "date": date, "time": time}
    result = yield act("I try the time that was asked for.", "social_scheduler", **post)
    if "error" in result:
        free = result["error"].rsplit(" ", 1)[1]
        thought = f"{time} is taken, so I use {free}."
        result = yield act(thought, "social_scheduler", **post | {"time": free})
    answer = f"The post is planned for {result['at']} as {result['post_id']}."
    yield Say(answer, (result["at"].split()[1], result["post_id"]))


def two_mailings(state: State, rng: random.Random) -> Script:
    """One mailing for each of two audiences."""
    one, two = rng.sample(BANKS["audience"], 2)
    template = rng.choice(["welcome", "promotion", "survey"])
    subject, date = rng.choice(BANKS["headline"]), _date(rng)
    yield sample_request(
        rng, "two_mailings", template=template, subject=subject, one=one, two=two, date=date
    )
    ids = []
    for thought, who in ((f"I start with {one}.", one), (f"Now the same for {two}.", two)):
        mail = {"template": template, "audience": who, "subject": subject, "send_date": date}
        made = yield act(thought, "email_builder", **mail)
        ids.append(made["mailing_id"])
    yield Say(f"{ids[0]} goes to {one} and {ids[1]} to {two} on {date}.", tuple(ids))


class ContentWorld(SeededWorld):
    agent, make = "content", make
    tools = by_name(content_generator, seo_analyzer, social_scheduler, email_builder)
    goals = by_name(write_and_post, worst_keyword, taken_slot, two_mailings)
