"""The test bench: suites that pass or fail, pages with elements, coverage of folders."""

from __future__ import annotations

import random
from typing import Any

from raytune_agents.agents.script import Say, Script, ToolError, act, listed, sample_request
from raytune_agents.agents.word_banks import BANKS
from raytune_agents.agents.worlds.seeded import SeededWorld, State, by_name
from raytune_agents.records import JsonObject


def _camel(feature: str) -> str:
    return "".join(w.capitalize() for w in feature.split("_"))


def make(rng: random.Random) -> State:
    """Five test files with three tests each, two pages with three elements, four sources."""
    features = rng.sample(BANKS["feature"], 5)
    tests = []
    for feature in features:
        area = rng.choice(BANKS["area"])
        for i, what in enumerate(rng.sample(["empty", "valid", "expired", "large", "twice"], 3)):
            tests.append(
                {
                    "file": f"tests/{area}/test_{feature}.py",
                    "module": f"tests.{area}.test_{feature}",
                    "case": f"{_camel(feature)}Tests" if i else f"{_camel(feature)}Smoke",
                    "name": f"test_{feature}_{what}",
                    "marker": ["smoke", "regression", "slow"][i],
                    "passes": rng.random() < 0.6,
                }
            )
    pages = {}
    for company in rng.sample(BANKS["company"], 2):
        page = rng.choice(BANKS["page"])
        found = {f"#{w}-button": rng.random() < 0.6 for w in rng.sample(BANKS["widget"], 3)}
        pages[f"https://{company}.example.com/{page}"] = {
            "title": f"{page.title()} - {company.title()}",
            "elements": found,
        }
    sources = {f"src/{f}": rng.choice([58.5, 64.0, 71.5, 78.0, 83.5, 90.5, 96.0]) for f in features}
    return {"tests": tests, "pages": pages, "sources": sources, "reports": []}


def _run(tests: list[JsonObject], stop: int | None, verbose: bool = False) -> JsonObject:
    ran, failures = [], []
    for test in tests:
        ran.append(test["name"])
        if not test["passes"]:
            failures.append(test["name"])
            if stop and len(failures) >= stop:
                break
    out = {"passed": len(ran) - len(failures), "failed": len(failures), "failures": failures}
    return out | {"tests": ran} if verbose else out


def pytest(
    state: State,
    path: str,
    marker: str | None = None,
    max_failures: int | None = None,
    verbose: bool = False,
) -> Any:
    """Run the tests under a path; an unknown path is an error."""
    under = path.rstrip("/")
    tests = [t for t in state["tests"] if t["file"] == under or t["file"].startswith(under + "/")]
    if not tests:
        raise ToolError(f"file or directory not found: {path}")
    return _run([t for t in tests if marker in (None, t["marker"])], max_failures, verbose)


def selenium(state: State, url: str, browser: str, selector: str, headless: bool = False) -> Any:
    """Whether an element is visible on a page."""
    page = state["pages"].get(url)
    if page is None:
        raise ToolError(f"{url} answered 404")
    return {"title": page["title"], "visible": page["elements"].get(selector, False)}


def unittest(
    state: State, module: str, test_case: str | None = None, failfast: bool = False
) -> Any:
    """Run a module or one of its cases."""
    tests = [t for t in state["tests"] if t["module"] == module]
    if not tests:
        raise ToolError(f"No module named {module!r}")
    chosen = [t for t in tests if test_case in (None, t["case"])]
    if not chosen:
        cases = sorted({t["case"] for t in tests})
        raise ToolError(f"module {module!r} has no {test_case!r}; it has {', '.join(cases)}")
    return _run(chosen, 1 if failfast else None)


def coverage(
    state: State, source: str, report_format: str, minimum_percent: float | None = None
) -> Any:
    """Measure a folder; the report is kept in the world."""
    if source not in state["sources"]:
        raise ToolError(f"no source folder {source}")
    percent = state["sources"][source]
    report = f"coverage_{source.split('/')[-1]}.{report_format}"
    state["reports"].append(report)
    return {"percent": percent, "enough": percent >= (minimum_percent or 0), "report": report}


# --- goals ----------------------------------------------------------------------------------------


def _file(state: State, rng: random.Random) -> str:
    return rng.choice(sorted({t["file"] for t in state["tests"]}))


def smoke_then_all(state: State, rng: random.Random) -> Script:
    """Smoke tests first; only if they pass, the whole file."""
    path = _file(state, rng)
    yield sample_request(rng, "smoke_then_all", path=path)
    smoke = yield act("The smoke tests come first.", "pytest", path=path, marker="smoke")
    if smoke["failed"]:
        first = smoke["failures"][0]
        yield Say(f"The smoke test {first} fails, so I stopped there.", (first,))
        return
    result = yield act("The smoke tests pass, so I run the whole file.", "pytest", path=path)
    names = result["failures"]
    yield Say(f"Failing tests: {listed(names)}.", tuple(names))


def tests_then_coverage(state: State, rng: random.Random) -> Script:
    """Run a suite, then measure the code it tests."""
    path, source = _file(state, rng), rng.choice(sorted(state["sources"]))
    form = rng.choice(["html", "xml", "json"])
    yield sample_request(rng, "tests_then_coverage", path=path, source=source, form=form)
    result = yield act("I run the tests first.", "pytest", path=path)
    failed = result["failed"]
    thought = f"{failed} failed. Now the coverage."
    covered = yield act(thought, "coverage", source=source, report_format=form)
    percent = covered["percent"]
    answer = f"{failed} tests fail and {percent} percent of {source} is covered."
    yield Say(answer, (str(failed), str(percent)))


def first_visible(state: State, rng: random.Random) -> Script:
    """Look for one element; if it is hidden, look for another."""
    url = rng.choice(sorted(state["pages"]))
    one, two = rng.sample(sorted(state["pages"][url]["elements"]), 2)
    browser = rng.choice(["chrome", "firefox", "edge"])
    yield sample_request(rng, "first_visible", browser=browser, one=one, url=url, two=two)
    page = {"url": url, "browser": browser}
    seen = yield act(f"I look for {one} first.", "selenium", **page, selector=one)
    if seen["visible"]:
        yield Say(f"{one} is visible on {url}.", (one, "visible"))
        return
    thought = f"{one} is not visible, so I look for {two}."
    seen = yield act(thought, "selenium", **page, selector=two)
    word = "visible" if seen["visible"] else "not visible either"
    yield Say(f"{one} is not visible; {two} is {word}.", (two, word))


def case_by_name(state: State, rng: random.Random) -> Script:
    """The user has the name of the test case wrong; the error lists the right ones."""
    module = rng.choice(sorted({t["module"] for t in state["tests"]}))
    which = rng.choice(["Smoke", "Tests"])
    yield sample_request(rng, "case_by_name", module=module, which=which, case="All")
    thought = "I try the class that was named."
    result = yield act(thought, "unittest", module=module, test_case="All")
    if "error" in result:
        cases = result["error"].rsplit(" it has ", 1)[1].split(", ")
        case = next(c for c in cases if c.endswith(which))
        thought = f"There is no such class; {case} ends in {which}."
        result = yield act(thought, "unittest", module=module, test_case=case)
    yield Say(f"Failing tests: {listed(result['failures'])}.", tuple(result["failures"]))


def weakest_source(state: State, rng: random.Random) -> Script:
    """Measure two folders and report on the weaker one."""
    one, two = rng.sample(sorted(state["sources"]), 2)
    yield sample_request(rng, "weakest_source", one=one, two=two)
    a = yield act(f"I start with {one}.", "coverage", source=one, report_format="text")
    thought = f"{one} has {a['percent']} percent. Now {two}."
    b = yield act(thought, "coverage", source=two, report_format="text")
    percent, weak = (a["percent"], one) if a["percent"] <= b["percent"] else (b["percent"], two)
    thought = f"{weak} is the weaker one with {percent} percent."
    yield act(thought, "coverage", source=weak, report_format="html")
    yield Say(f"{weak} is covered less: {percent} percent.", (weak, str(percent)))


class QaWorld(SeededWorld):
    agent, make = "qa", make
    tools = by_name(pytest, selenium, unittest, coverage)
    goals = by_name(
        smoke_then_all, tests_then_coverage, first_visible, case_by_name, weakest_source
    )
