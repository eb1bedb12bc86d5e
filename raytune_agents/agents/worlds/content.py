"""The content desk: drafts, search ranks of pages, a posting calendar and mailings."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Goal, Say, ToolError, act, sample_request, sample_words
from raytune_agents.agents.word_banks import BANKS
from raytune_agents.agents.worlds.seeded import SeededWorld, State

PLATFORMS = ("LinkedIn", "Instagram", "Facebook", "Mastodon")
TITLES = ["All about {topic}", "{topic} made simple", "Why {topic} matters", "A guide to {topic}"]


def make(rng: random.Random) -> State:
    """Two pages with the rank of four keywords, some taken posting times, a fixed today."""
    urls = [
        f"https://{c}.example.com/{rng.choice(BANKS['page'])}"
        for c in sample_words(rng, BANKS["company"], 2)
    ]
    ranks = {
        u: {k: rng.randint(1, 60) for k in sample_words(rng, BANKS["keyword"], 4)} for u in urls
    }
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


def write_and_post(state: State, rng: random.Random):
    """The title of a new draft becomes the post."""
    kind, topic = rng.choice(["article", "tutorial", "slogan"]), rng.choice(BANKS["topic"])
    platform, date = rng.choice(PLATFORMS), _date(rng)
    yield sample_request(
        rng,
        [
            "Write a {kind} about {topic} and schedule its title as a {platform} post for {date} "
            "at 11:00.",
            "I need a {kind} on {topic}. Then put its title on {platform} on {date} at 11:00.",
        ],
        kind=kind,
        topic=topic,
        platform=platform,
        date=date,
        time="11:00",
    )
    draft = yield act(
        "The text comes first, so that there is a title.",
        "content_generator",
        kind=kind,
        topic=topic,
    )
    post = yield act(
        f'The title is "{draft["title"]}"; I schedule it.',
        "social_scheduler",
        platform=platform,
        text=draft["title"],
        date=date,
        time="11:00",
    )
    yield Say(
        f'"{draft["title"]}" is planned as {post["post_id"]} on {platform} for {post["at"]}.',
        (draft["title"], post["post_id"]),
    )


def worst_keyword(state: State, rng: random.Random):
    """Find the keyword with the worse rank and write about it."""
    url = rng.choice(sorted(state["ranks"]))
    one, two = sample_words(rng, sorted(state["ranks"][url]), 2)
    tone = rng.choice(["formal", "friendly", "playful", "technical"])
    yield sample_request(
        rng,
        [
            "Check how {url} ranks for {one} and {two}, then write a {tone} article about the one "
            "that ranks worse.",
            "For which of {one} and {two} does {url} rank worse? Write a {tone} article on that "
            "one.",
        ],
        url=url,
        one=one,
        two=two,
        tone=tone,
    )
    ranks = yield act("I check both keywords.", "seo_analyzer", url=url, keywords=[one, two])
    worse = max((one, two), key=lambda k: ranks[k])
    draft = yield act(
        f"{worse} ranks worse, at {ranks[worse]}; I write about it.",
        "content_generator",
        kind="article",
        topic=worse,
        tone=tone,
    )
    yield Say(
        f"{worse} ranks at {ranks[worse]}; the article is draft {draft['draft_id']}.",
        (worse, str(ranks[worse]), draft["draft_id"]),
    )


def taken_slot(state: State, rng: random.Random):
    """The time is taken; the error names a free one."""
    platform, date, time = rng.choice(state["taken"]).split()
    text = rng.choice(BANKS["post"])
    yield sample_request(
        rng,
        [
            'Schedule "{text}" on {platform} for {date} at {time}, or at the next free time if '
            "that is taken.",
            'Post "{text}" on {platform} on {date} at {time}. If the time is taken, use the free '
            "one.",
        ],
        text=text,
        platform=platform,
        date=date,
        time=time,
    )
    result = yield act(
        "I try the time that was asked for.",
        "social_scheduler",
        platform=platform,
        text=text,
        date=date,
        time=time,
    )
    if "error" in result:
        free = result["error"].rsplit(" ", 1)[1]
        result = yield act(
            f"{time} is taken, so I use {free}.",
            "social_scheduler",
            platform=platform,
            text=text,
            date=date,
            time=free,
        )
    yield Say(
        f"The post is planned for {result['at']} as {result['post_id']}.",
        (result["at"].split()[1], result["post_id"]),
    )


def two_mailings(state: State, rng: random.Random):
    """One mailing for each of two audiences."""
    one, two = sample_words(rng, BANKS["audience"], 2)
    template, subject = (
        rng.choice(["welcome", "promotion", "survey"]),
        rng.choice(BANKS["headline"]),
    )
    date = _date(rng)
    yield sample_request(
        rng,
        [
            'Build a {template} email with the subject "{subject}" for {one} and another one for '
            "{two}, both to be sent on {date}.",
            "I need two {template} mailings with the subject {subject}, one to {one} and one to "
            "{two}, sent on {date}.",
        ],
        template=template,
        subject=subject,
        one=one,
        two=two,
        date=date,
    )
    a = yield act(
        f"I start with {one}.",
        "email_builder",
        template=template,
        audience=one,
        subject=subject,
        send_date=date,
    )
    b = yield act(
        f"Now the same for {two}.",
        "email_builder",
        template=template,
        audience=two,
        subject=subject,
        send_date=date,
    )
    ids = (a["mailing_id"], b["mailing_id"])
    yield Say(f"{ids[0]} goes to {one} and {ids[1]} to {two} on {date}.", ids)


TOOLS = {
    "content_generator": content_generator,
    "seo_analyzer": seo_analyzer,
    "social_scheduler": social_scheduler,
    "email_builder": email_builder,
}
GOALS: dict[str, Goal] = {
    "write_and_post": write_and_post,
    "worst_keyword": worst_keyword,
    "taken_slot": taken_slot,
    "two_mailings": two_mailings,
}


class ContentWorld(SeededWorld):
    agent, make, tools, goals = "content", make, TOOLS, GOALS
