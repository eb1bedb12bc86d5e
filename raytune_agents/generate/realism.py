"""How close generated rows come to what people write, in numbers.

Names of tools in requests, values that do not fit, grounding, distinct bigrams, coverage, and how
well a classifier tells synthetic requests from real ones (0.5 = not at all).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from raytune_agents.agents.phrasing import name_words
from raytune_agents.calls.validation import accepts
from raytune_agents.filters import grounding
from raytune_agents.generate import kinds
from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.bounds import bounds_in
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.ways_said import day_of
from raytune_agents.generate.wordlists import word_data
from raytune_agents.records import JsonObject, ToolSpec, Trajectory

SHOWN = 10  # requests of each source in the manifest
FOLDS = 5
FEWEST = 10  # real requests below which no classifier is asked
_USED = r"(?:use|using|with|via|through|call|calling|run|try|invoke|by|under|on|in)"


@lru_cache(maxsize=65536)
def _name_pattern(name: str) -> re.Pattern[str]:
    words = name_words(name).split()
    exact = rf"(?<![\w.]){re.escape(name)}(?![\w])"
    if len(words) > 1 and not base_verb(words[0]):
        return re.compile(exact, re.I)  # "soil moisture" is what people call soil_moisture
    if len(words) > 1:
        spaced = r"[\s_-]?".join(map(re.escape, words))
        return re.compile(rf"{exact}|(?<!\w){spaced}(?!\w)", re.I)
    word = re.escape(name)  # a word of the language counts only where it is used as a name
    return re.compile(
        rf"(?<!\w){_USED}\s+(?:the\s+)?{word}(?!\w)(?!\s+(?!on|to|for|from|in|with|and|under|of|at)[a-z])|(?<!\w){word}\s+(?:tool|function|api|"
        rf"command|endpoint)\b",
        re.I,
    )


def names_tool(text: str, tools: Iterable[ToolSpec]) -> str:
    """The tool that a request names, or "": an identifier, its words one after another, or a plain
    word where it is used as the name of a tool ("use scanner")."""
    return next((t.name for t in tools if _name_pattern(t.name).search(text)), "")


def requests(row: Trajectory) -> str:
    """Everything that the user says in a row."""
    return "\n".join(m.content for m in row.messages if m.role == "user")


def named(row: Trajectory) -> str:
    """The tool that the row's user names, or ""."""
    return names_tool(requests(row), row.tools)


# --- values ---------------------------------------------------------------------------------------


def misfit(p: Parameter, value: Any) -> bool:
    """Whether a value is wrong for what its parameter is: by schema, form or bounds."""
    if not accepts(p.detail, value):
        return True
    if p.kind == "choice":
        return bool(p.examples) and value not in p.values
    if isinstance(value, int | float) and not isinstance(value, bool):
        bounds = bounds_in(p.about)
        return bounds is not None and not bounds[0] <= value <= bounds[1]
    if not isinstance(value, str) or not value:
        return False
    if p.kind == "date" and "YYYY-MM-DD" in p.about and day_of(value) is None:
        return True
    form = word_data("names")["value_forms"].get(p.kind)
    return form is not None and not p.examples and not re.fullmatch(form, value)


def misfits(row: Trajectory) -> tuple[int, list[str]]:
    """Number of arguments of a row's calls, and those that do not fit as "tool.parameter=value"."""
    tools = {t.name: t for t in row.tools}
    count, out = 0, []
    for call in row.calls:
        tool = tools.get(call.name)
        params = kinds.parameters(tool.name, tool.description, tool.schema) if tool else ()
        args = call.args
        for p in params:
            if p.name in args:
                count += 1
                if misfit(p, args[p.name]):
                    out.append(f"{call.name}.{p.name}={str(args[p.name])[:40]}")
    return count, out


# --- texts ----------------------------------------------------------------------------------------


def distinct_bigrams(texts: Iterable[str]) -> float:
    """Different bigrams of words over all of them, in [0, 1]; 0 for no text (Li et al.,
    arXiv 1510.03055)."""
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        pairs.update(zip(words, words[1:]))  # noqa: RUF007
    return len(pairs) / pairs.total() if pairs else 0.0


def auc_real(synthetic: Sequence[str], real: Sequence[str], seed: int = 0) -> float | None:
    """Area under the ROC curve of TF-IDF + logistic regression that tells synthetic requests from
    real ones, cross-validated; 0.5 = it cannot. None with fewer than ten of either."""
    if min(len(synthetic), len(real)) < FEWEST:
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    labels = [1] * len(real) + [0] * len(synthetic)
    model = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[?.!:,]"
        ),
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(
        model, [*real, *synthetic], labels, cv=folds, method="predict_proba"
    )[:, 1]
    return float(roc_auc_score(labels, scores))


def tool_coverage(rows: Sequence[Trajectory], tools: Sequence[ToolSpec]) -> dict[str, float]:
    """Share of the tools that are called, and of their parameters that are given, in [0, 1]."""
    called: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if "mask" in row.meta:  # its names are others
            continue
        for call in row.calls:
            called[call.name] |= set(call.args)
    params = [(t.name, p) for t in tools for p in t.schema.get("properties", {})]
    present = sum(p in called.get(t, ()) for t, p in params)
    return {
        "tools": sum(t.name in called for t in tools) / len(tools) if tools else 0.0,
        "parameters": present / len(params) if params else 1.0,
    }


def source_of(row: Trajectory) -> str:
    """Who worded a generated row: own (the user's rows), model, wording (the spec's), template."""
    return str(row.meta.get("wording", "template"))


def realism_figures(
    rows: Sequence[Trajectory],
    real: Sequence[Trajectory],
    tools: Sequence[ToolSpec],
    unseen: bool = False,
) -> JsonObject:
    """All figures of generated rows, beside the user's own; shares in [0, 1]. Unless the real rows
    were `unseen`, `auc_real` leaves out what was made of them: it is as good as real by itself."""
    values = [misfits(row) for row in rows]
    checked = [grounding.check_values(row) for row in rows]
    count = sum(n for n, _ in checked)
    loose = sum(len(m) for _, m in checked)
    texts, own = [requests(r) for r in rows], [requests(r) for r in real]
    compared = [t for r, t in zip(rows, texts) if unseen or source_of(r) != "own"]
    area = auc_real(compared, own)
    by_source: dict[str, list[str]] = defaultdict(list)
    for row, text in zip(rows, texts):
        by_source[source_of(row)].append(text)
    return {
        "rows": len(rows),
        "sources": {k: len(v) for k, v in sorted(by_source.items())},
        "named_tool_share": _share(sum(bool(named(r)) for r in rows), len(rows)),
        "misfit_share": _share(sum(len(m) for _, m in values), sum(n for n, _ in values)),
        "misfits": sorted({m for _, found in values for m in found})[:SHOWN],
        "grounded_share": 1 - _share(loose, count),
        "distinct_2": round(distinct_bigrams(texts), 4),
        "coverage": {k: round(v, 4) for k, v in tool_coverage(rows, tools).items()},
        "frames": dict(
            Counter(r.meta["frame"] for r in rows if "frame" in r.meta).most_common(SHOWN)
        ),
        "words": _lengths(texts),
        "auc_real": None if area is None else round(area, 4),
        "real_rows": len(real),
        "samples": {k: v[:SHOWN] for k, v in sorted(by_source.items())} | {"real": own[:SHOWN]},
    }


def _lengths(texts: Sequence[str]) -> Mapping[str, int]:
    """Requests by length in words: up to 8, 16, 32 and more."""
    edges = ((8, "1-8"), (16, "9-16"), (32, "17-32"), (10**9, "33+"))
    return dict(
        Counter(next(name for most, name in edges if len(t.split()) <= most) for t in texts)
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
