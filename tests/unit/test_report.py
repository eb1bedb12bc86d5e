"""The report of a run folder that the test writes: content, escaping, gaps, size."""

import hashlib
import json
import random
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytune_agents import report
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, derive, finish, to_table
from raytune_agents.report import text

TOOLS = {
    "get_weather": ("city", "Oslo"),
    "convert_currency": ("amount", 40),
    "book_table": ("guests", 4),
    "search_tickets": ("query", "login"),
    "run_query": ("sql", "select 1"),
    "scan_host": ("host", "10.0.0.7"),
}
FAULTS = [
    "wrong_value",
    "wrong_function",
    "missing_required",
    "malformed_json",
    "extra_call",
    "answered_directly",
]
SCRIPT = "<script>alert('x')</script></style></script><img src=http://evil.example/a.png onerror=alert(1)>"
BIDI = "user\u202egnp.exe\u2066 \u0000\u200b tail"
HOSTILE = f"{SCRIPT} {BIDI} \" onmouseover=alert(2) ' &amp; ]]> <!-- {{{{ 7*7 }}}} שלום"
RIGHT = {"base": 0.45, "sft": 0.62, "nat": 0.74}


def tool(name: str) -> ToolSpec:
    schema = {
        "type": "object",
        "properties": {TOOLS[name][0]: {"type": "string"}},
        "required": [TOOLS[name][0]],
    }
    return ToolSpec(name, f"Call {name.replace('_', ' ')}.", json.dumps(schema))


def rows(n: int = 160) -> list[Trajectory]:
    """Positives, synthetic and negative rows over six tools, splits and reasons as the steps leave them."""
    rng, out = random.Random(5), []
    for i in range(n):
        name = list(TOOLS)[i % 6]
        key, value = TOOLS[name]
        split = ["train", "train", "train", "val", "test_seen", "test_unseen"][(i // 6) % 6]
        row = finish(
            Trajectory(
                messages=(
                    Message("user", f"Request {i}: please use {key} {value}."),
                    Message(
                        "assistant", "", tool_calls=(ToolCall(name, json.dumps({key: value})),)
                    ),
                ),
                tools=tuple(tool(t) for t in TOOLS),
                source="bfcl/simple_python",
                source_id=f"simple_{i}",
                split=split,
                step="read",
                reject_reason="duplicate" if i % 37 == 1 else "",
            )
        )
        out.append(row)
        if split == "train" and i % 2:
            out.append(
                derive(
                    row,
                    pool="synthetic.paraphrase",
                    step="generate.paraphrase",
                    messages=(
                        Message("user", f"Could you, for request {i}, do it?"),
                        row.messages[1],
                    ),
                )
            )
        if split == "train":
            fault = rng.choice(FAULTS)
            out.append(
                derive(
                    row,
                    pool=f"negative.{fault}",
                    fault=fault,
                    step="negatives.edit",
                    messages=(
                        row.messages[0],
                        Message("assistant", "", tool_calls=(ToolCall("other", '{"a": 1}'),)),
                    ),
                )
            )
    return out


def hostile_rows() -> list[Trajectory]:
    return [
        finish(
            Trajectory(
                messages=(Message("user", HOSTILE), Message("assistant", "x" * 1_000_000)),
                pool=pool,
                source=HOSTILE,
                fault="</script><b>" + BIDI if pool != "positive" else "",
                tools=(ToolSpec(HOSTILE, HOSTILE),),
                step=HOSTILE,
                split="train",
            )
        )
        for pool in ("positive", "negative.<i>x</i>")
    ]


def answers(source: list[Trajectory], hostile: bool) -> list[dict]:
    """Every test row answered by every arm, right as often as RIGHT says; errors carry a fault."""
    rng, out = random.Random(11), []
    tests = [r for r in source if r.split in ("test_seen", "test_unseen") and r.pool == "positive"]
    for k, row in enumerate(tests * 3):
        ident, luck = row.id if k < len(tests) else f"{row.id}-{k}", rng.random()
        gold = [{c.name: {k: [v] for k, v in c.args.items()}} for c in row.calls]
        for arm, share in RIGHT.items():
            good, fault = luck < share, rng.choice(FAULTS)
            call = {
                "name": row.calls[0].name
                if fault != "wrong_function" or good
                else rng.choice(list(TOOLS)),
                "arguments": row.calls[0].args if good else {"wrong": 1},
            }
            answer = (
                f"<tool_call>{json.dumps(call)}</tool_call>"
                if good or fault != "answered_directly"
                else "Sure!"
            )
            if hostile and rng.random() < 0.2:
                answer, good = HOSTILE + "y" * (1_000_000 if len(out) < 30 else 50), False
            out.append(
                {
                    "arm": arm,
                    "split": row.split,
                    "id": ident,
                    "query": row.query,
                    "tools": "[]",
                    "gold": json.dumps(gold),
                    "answer": answer,
                    "exact_match": good,
                    "error": "" if good else "value_error:string",
                    "fault": "" if good else fault,
                    "latency_s": 0.2 + rng.random(),
                    "output_tokens": rng.randint(12, 40),
                }
            )
    return out


def score_files(given: list[dict]) -> tuple[dict, dict]:
    """scores.json and differences.json, with shares counted from the answers."""
    scores, differences = {}, {}
    for arm in RIGHT:
        for split in ("test_seen", "test_unseen"):
            hits = [a["exact_match"] for a in given if a["arm"] == arm and a["split"] == split]
            base = [a["exact_match"] for a in given if a["arm"] == "base" and a["split"] == split]
            value, n = sum(hits) / len(hits), len(hits)
            more = {"function_accuracy": 0.1, "parameter_accuracy": 0.05, "format_adherence": 0.2}
            cell = {
                "exact_match": {"value": value, "low": value - 0.09, "high": value + 0.09, "n": n}
            }
            cell |= {
                k: {"value": min(1.0, value + d), "low": value, "high": 1.0, "n": n}
                for k, d in more.items()
            }
            cell["hallucination_rate"] = {
                "value": 0.12 - value / 10,
                "low": 0.01,
                "high": 0.15,
                "n": n,
            }
            cell["latency_p50_s"] = {"value": 0.7, "low": 0.6, "high": 0.8, "n": n}
            scores.setdefault(arm, {})[split] = cell
            if arm != "base":
                delta = value - sum(base) / n
                differences.setdefault(arm, {})[split] = {
                    "exact_match": {
                        "value": delta,
                        "low": delta - 0.08,
                        "high": delta + 0.08,
                        "n": n,
                        "p": 0.001,
                    },
                    "latency_p50_s": {"value": 0.2, "low": 0.1, "high": 0.3, "n": n, "p": 0.01},
                }
    return scores, differences


def trials() -> list[dict]:
    rng, out = random.Random(3), []
    for i in range(9):
        cut = sorted([rng.random(), rng.random()])
        weights = {"positive": cut[0], "synthetic": cut[1] - cut[0], "negative": 1 - cut[1]}
        top = 0.4 + 0.4 * weights["positive"]
        reports = [
            {"step": 8 * k, "exact_match": top * k / 3, "val_loss": 2 / k, "tokens": 1000 * k}
            for k in range(1, 4 if i % 3 else 2)
        ]
        out.append(
            {
                "trial_id": f"t{i:03}",
                "status": "TERMINATED",
                "config": {"train.learning_rate": 1e-3 / (i + 1)},
                "weights": weights,
                "reports": reports,
                "best": reports[-1]["exact_match"],
                "error": "",
            }
        )
    out[4] |= {
        "status": "ERROR",
        "reports": [],
        "best": None,
        "error": "RuntimeError: out of memory",
    }
    return out


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def manifest(
    step: str,
    rows_in: int,
    out: int,
    rejected: dict | None = None,
    failed: dict | None = None,
    **more,
):
    return {
        "step": step,
        "key": hashlib.sha256(step.encode()).hexdigest()[:16],
        "config": {},
        "inputs": {},
        "revision": "4654c41",
        "seconds": 31.5,
        "started": "2026-03-01T10:00:00Z",
        "finished": "2026-03-01T10:00:31Z",
        "versions": {"python": "3.11.9", "vllm": "0.32.0"},
        "hardware": {"cpu": "2 cores", "memory_gib": 8},
        "rows": {"in": rows_in, "out": out, "rejected": rejected or {}, "failed": failed or {}},
    } | more


def make_run(path: Path, hostile: bool = False) -> Path:
    """A whole run folder, as the steps leave it; `hostile` puts strings that attack the page everywhere."""
    made = rows() + (hostile_rows() if hostile else [])
    bad = sum(bool(r.reject_reason) for r in made)
    name = HOSTILE if hostile else "demo"
    dump(
        path / "config.json",
        {
            "name": name,
            "seed": 17,
            "evaluate": {"confidence": 0.95},
            "mix": {"weights": {"positive": 0.5, "synthetic": 0.2, "negative": 0.3}},
        },
    )
    read = [r for r in made if r.pool == "positive"]
    dump(
        path / "read/manifest.json",
        manifest("read", len(read) + 3, len(read), failed={"no messages": 3}),
    )
    new = len(made) - len(read)
    dump(path / "generate/manifest.json", manifest("generate", new + 12, new, {"lost_value": 12}))
    dump(
        path / "label/manifest.json",
        manifest("label", len(made), len(made) - bad, {"duplicate": bad}),
    )
    arms = {
        "sft": {
            "tokens": {"positive": 8400, "synthetic": 3600},
            "epochs": {"positive": 1.9, "synthetic": 2.0},
        },
        "nat": {
            "tokens": {"positive": 6000, "synthetic": 2400, "negative": 3600},
            "epochs": {"positive": 1.4, "synthetic": 1.3, "negative": 0.8},
        },
    }
    dump(
        path / "mix/manifest.json",
        manifest("mix", len(made) - bad, 250, {"over_budget": 30}, arms=arms),
    )
    for step in ("train", "evaluate", "tune"):
        dump(path / f"{step}/manifest.json", manifest(step, 300, 300))
    (path / "label").mkdir(exist_ok=True)
    half = len(made) // 2
    pq.write_table(to_table(made[:half]), path / "label/rows-00000.parquet")
    pq.write_table(to_table(made[half:]), path / "label/rows-00001.parquet")
    for arm, start in (("sft", 2.4), ("nat", 2.6)):
        lines = [
            {
                "step": s,
                "loss": start / (1 + s / 20) + 0.1 * random.Random(s).random(),
                "learning_rate": 1e-3 * (1 - s / 80),
                "grad_norm": 1.0,
                "tokens_per_s": 900 + s,
                "peak_memory_mib": 2100,
            }
            for s in range(1, 80)
        ]
        (path / f"train/{arm}").mkdir(parents=True)
        (path / f"train/{arm}/metrics.jsonl").write_text(
            "\n".join(map(json.dumps, lines)) + '\n{"step": 80, "lo'
        )
    given = answers(made, hostile)
    scores, differences = score_files(given)
    dump(path / "evaluate/scores.json", scores)
    dump(path / "evaluate/differences.json", differences)
    pq.write_table(pa.Table.from_pylist(given), path / "evaluate/answers.parquet")
    dump(path / "tune/trials.json", trials())
    return path


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, ids, and the text outside style and script."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.inside = [], [], "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        self.inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.text += "" if self.inside else data


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return report.write(make_run(tmp_path_factory.mktemp("runs") / "demo"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return report.write(make_run(tmp_path_factory.mktemp("runs") / "hostile", hostile=True))


def test_page_has_every_section_and_the_numbers(demo):
    page = Page(demo)
    ids = {v for _, k, v in page.attributes if k == "id"}
    assert {
        "overview",
        "arms",
        "answers",
        "where",
        "data",
        "training",
        "search",
        "errors",
        "repeat",
    } <= ids
    scores = json.loads((demo.parent / "evaluate/scores.json").read_text())
    best = scores["nat"]["test_unseen"]["exact_match"]["value"]
    assert f"{best * 100:.1f} % against" in page.text
    assert "nat beats the base model on test_unseen" in page.text
    for word in (
        "no messages 3",
        "lost_value 12",
        "duplicate 5",
        "out of memory",
        "vllm",
        "4654c41",
        "negative.wrong_value",
        "get_weather",
        "6,000 (50 %, 1.4 epochs)",
    ):
        assert word in page.text, word
    assert "off by" in page.text  # the mix manifest of the fixture does not add up
    assert page.tags.count("svg") >= 12
    assert {"script", "style"} <= set(page.tags)


def test_page_fetches_nothing(demo):
    page = Page(demo)
    links = [
        v
        for _, k, v in page.attributes
        if k in ("src", "href", "action", "data", "srcset", "poster")
    ]
    assert all(v.startswith(("#", "data:,")) for v in links), links
    styles = demo.read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles


def test_hostile_strings_are_text(hostile):
    """Every way into markup: no tag, attribute or control of the data survives, its words do."""
    page, raw = Page(hostile), hostile.read_text(encoding="utf-8")
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == 1
    assert "img" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert "<script>alert('x')</script>" in page.text
    assert "user⟨U+202E⟩gnp.exe⟨U+2066⟩ ⟨U+0000⟩⟨U+200B⟩ tail" in page.text
    assert not text.CONTROLS.search(raw.replace("\n", ""))
    assert "{{ 7*7 }}" in page.text
    assert "שלום" in page.text
    assert "[cut: the first" in page.text
    assert len(raw.encode()) < 5_000_000
    md = hostile.with_name("report.md").read_text()
    assert "<script" not in md
    assert not text.CONTROLS.search(md)


if (
    __name__ == "__main__"
):  # python tests/unit/test_report.py FOLDER [hostile]: a run folder to look at
    print(report.write(make_run(Path(sys.argv[1]), hostile=len(sys.argv) > 2)))
