"""A run folder as the steps leave it, for the tests of the report.

To look at one: python tests/unit/report_run.py FOLDER [hostile]
"""

import hashlib
import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raytune_agents import report
from raytune_agents.evaluate.gate import GateResult
from raytune_agents.evaluate.scoreboard import Differences, Scores
from raytune_agents.evaluate.verdict import conclusion_of
from raytune_agents.records import (
    Message,
    ToolCall,
    ToolSpec,
    Trajectory,
    derive,
    finish,
    to_row,
    to_table,
)
from raytune_agents.storage import adapter_of

TOOLS = {
    "get_weather": ("city", "Oslo"),
    "convert_currency": ("amount", 40),
    "book_table": ("guests", 4),
    "search_tickets": ("query", "login"),
    "run_query": ("sql", "select 1"),
    "scan_host": ("host", "10.0.0.7"),
}
FAULTS = (
    *("wrong_value", "wrong_function", "missing_required"),
    *("malformed_json", "extra_call", "answered_directly"),
)
SPLITS = ("train", "train", "train", "val", "test_seen", "test_unseen")
RIGHT = {"base": 0.45, "sft": 0.62, "nat": 0.74}
HOSTILE = (
    "<script>alert('x')</script></style></script><img src=http://evil.example/a onerror=alert(1)> "
    "user\u202egnp.exe\u2066 \u0000\u200b tail \" onmouseover=alert(2) ' &amp; ]]> <!-- {{ 7*7 }} "
    "שלום"
)
GUIDE = "# Guide\n\nTrain on **60 % positives**.\n\n| mix | score |\n|---|---|\n| best | 0.65 |\n"
HOSTILE_GUIDE = f"""
[x](javascript:alert(1)) ![y](http://evil.example/y.png) <http://evil.example>

{HOSTILE}
"""
ARMS = {
    "sft": {
        "tokens": {"positive": 8400, "synthetic": 3600},
        "epochs": {"positive": 1.9, "synthetic": 2.0},
    },
    "nat": {
        "tokens": {"positive": 6000, "synthetic": 2400, "negative": 3600},
        "epochs": {"positive": 1.4, "synthetic": 1.3, "negative": 0.8},
    },
}
GENERATED = [
    {"pool": "tflan", "tried": 40, "similar": 3, "executed": 0, "judged": 5, "kept": 32, "short": 0}
]
LABELLED = {
    "": {"in": 9, "ungrounded": 2, "kept": 7},
    "bfcl": {"in": 9, "ungrounded": 2, "kept": 7},
}
GUIDANCE = {
    "recommended": {"positive": 0.6, "synthetic": 0.2, "negative": 0.2},
    "interval": {"positive": [0.4, 0.7], "synthetic": [0.1, 0.4], "negative": [0.0, 0.3]},
    "rank_correlation": 0.71,
    "importance": {"mix.weights.positive": 0.6, "train.learning_rate": 0.3},
    "verdict": "gain",
}


def tool(name: str) -> ToolSpec:
    key = TOOLS[name][0]
    schema = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    return ToolSpec(name, f"Call {name.replace('_', ' ')}.", json.dumps(schema))


def rows(n: int = 160) -> list[Trajectory]:
    """Positives, paraphrases and negatives over six tools, with splits and reasons."""
    rng, out = random.Random(5), []
    for i in range(n):
        name = list(TOOLS)[i % 6]
        key, value = TOOLS[name]
        split = SPLITS[(i // 6) % 6]
        call = ToolCall(name, json.dumps({key: value}))
        wrong = Message("assistant", "", tool_calls=(ToolCall("other", '{"a": 1}'),))
        ask = Message("user", f"Request {i}: please use {key} {value}.")
        row = Trajectory(
            messages=(ask, Message("assistant", "", tool_calls=(call,))),
            tools=tuple(map(tool, TOOLS)),
            source="bfcl/simple_python",
            source_id=f"simple_{i}",
            split=split,
            step="read",
            reject_reason=f"duplicate_of:{i}" if i % 37 == 1 else "",
        )
        row = finish(row)
        out.append(row)
        if split == "train" and i % 2:
            said = (Message("user", f"Could you, for request {i}, do it?"), row.messages[1])
            step, pool = "generate.paraphrase", "synthetic.paraphrase"
            out.append(derive(row, pool=pool, step=step, messages=said))
        if split == "train":
            fault, said = rng.choice(FAULTS), (ask, wrong)
            changes = {"pool": f"negative.{fault}", "fault": fault, "step": "negatives.edit"}
            out.append(derive(row, messages=said, **changes))
    return out


def hostile_rows() -> list[Trajectory]:
    said = (Message("user", HOSTILE), Message("assistant", "x" * 1_000_000, thought=HOSTILE))
    row = Trajectory(
        messages=said,
        tools=(ToolSpec(HOSTILE, HOSTILE),),
        split="train",
        **dict.fromkeys(("source", "source_id", "step"), HOSTILE),
    )
    fault = f"</script><b>{HOSTILE}"
    return [
        finish(row),
        derive(row, pool="strange<i>x</i>", messages=said * 9),
        derive(row, pool="negative.<i>x</i>", fault=fault),
    ]


def answers(source: list[Trajectory], hostile: bool) -> list[dict]:
    """Every test row answered by every arm, right as often as RIGHT says; errors have a fault."""
    rng, out = random.Random(11), []
    tests = [r for r in source if r.split.startswith("test") and r.pool == "positive"]
    for k, row in enumerate(tests * 3):
        luck, call = rng.random(), row.calls[0]
        facts = {
            "split": row.split,
            "id": row.id if k < len(tests) else f"{row.id}-{k}",
            "query": row.query,
            "tools": "[]",
            "gold": json.dumps([{call.name: {k: [v] for k, v in call.args.items()}}] * (1 + k % 2)),
        }
        for arm, share in RIGHT.items():
            good, fault = luck < share, rng.choice(FAULTS)
            name = call.name if good or fault != "wrong_function" else rng.choice(list(TOOLS))
            made = {"name": name, "arguments": call.args if good else {"wrong": 1}}
            text = f"<tool_call>{json.dumps(made)}</tool_call>"
            text = "Sure!" if fault == "answered_directly" and not good else text
            if hostile and rng.random() < 0.2:
                text, good = HOSTILE + "y" * (1_000_000 if len(out) < 30 else 50), False
                fault = f"{HOSTILE}{k % 3}"
            marks = {"fault": "" if good else fault, "error": "" if good else "value_error:string"}
            cost = {"confidence": 0.5 + rng.random() / 2, "output_tokens": rng.randint(12, 40)}
            hit = {"arm": arm, "answer": text, "exact_match": float(good), "failed": ""}
            out.append(facts | hit | marks | cost)
    lost = {"exact_match": None, "failed": "infra_failed", "answer": "", "fault": None}
    out.append(out[0] | {"id": "lost", "query": "never answered"} | lost)
    return out


def cell(value: float, half: float, n: int) -> dict:
    ends = {"low": value - half, "high": value + half}
    pair = {"p": 0.001, "p_holm": 0.002, "wins": 30, "losses": 9, "detectable": half * 1.43}
    return {"value": value, "n": n} | ends | pair


def score_files(given: list[dict]) -> tuple[dict, dict]:
    """scores.json and differences.json, with exact match counted from the answers."""
    scores, differences = {}, {}
    for arm in RIGHT:
        for split in ("test_seen", "test_unseen"):
            part = [a for a in given if a["split"] == split and not a["failed"]]
            hits = [a["exact_match"] for a in part if a["arm"] == arm]
            base = [a["exact_match"] for a in part if a["arm"] == "base"]
            value, n = sum(hits) / len(hits), len(hits)
            scores.setdefault(arm, {})[split] = {
                "exact_match": cell(value, 0.09, n),
                "function_accuracy": cell(min(value + 0.1, 0.95), 0.05, n),
                "parameter_accuracy": cell(value + 0.05, 0.05, n),
                "format_adherence": cell(min(value + 0.2, 0.97), 0.03, n),
                "hallucination_rate": cell(0.12 - value / 10, 0.02, n),
                "output_tokens": cell(24.6, 1.5, n),
                "call_precision": cell(value + 0.02, 0.05, n),
                "hallucinated_tool": cell(0.03, 0.01, n),
            }
            scores[arm][split] |= {
                "confidence": cell(0.83, 0.02, n),
                "calibration_error": cell(0.21, 0.03, n),
            }
            scores[arm]["val"] = {"perplexity": cell(1.3, 0.1, 32), "nll": cell(0.3, 0.1, 32)}
            scores[arm]["general"] = {"arc_easy.acc": cell(0.4, 0.1, 64)}
            if arm != "base":
                changes = {"general": {"arc_easy.acc": cell(-0.05, 0.02, 64)}}
                changes["val"] = {"nll": cell(-0.02, 0.01, 32)}
                differences.setdefault(arm, {}).update(changes)
            scores[arm]["trajectories"] = {
                "task_completion": cell(value / 2, 0.1, 8),
                "pass_hat_2": cell(value / 3, 0.1, 8),
                "end.loop": cell(0.25, 0.1, 16),
            }
            if arm != "base":
                delta = {"exact_match": cell(value - sum(base) / n, 0.08, n)}
                delta |= {"hallucination_rate": cell(0.05, 0.02, n)}
                differences.setdefault(arm, {})[split] = delta
    return scores, differences


def other_files() -> dict:
    """The other files of the evaluation; nat lost half of its irrelevance."""
    speed = {"first_token_ms": 40.0, "end_to_end_ms": 900.0, "tokens_per_s": 55.0}
    costs = {"train_rows": 260.0, "train_seconds": 62.0, "train_energy_j": None, "energy_j": None}
    latency = {
        arm: {
            str(load): {name: cell(value * load**0.5, 1.0, 16) for name, value in speed.items()}
            for load in (1, 8, 32)
        }
        for arm in ("base", "nat")
    }
    packed = {
        kind: {"exact_match": cell(share, 0.1, 40), "end_to_end_ms": cell(ms, 1.0, 40),
               "weights_mib": {"value": mib, "n": 40}}
        for kind, share, ms, mib in (("none", 0.75, 30, 5886.0), ("nf4", 0.7, 52, 1913.0))
    }  # fmt: skip
    suites = {"test_seen": "exact_match", "test_unseen": "exact_match"}
    overall = {
        arm: {"score": cell(share, 0.05, 80), "suites": suites,
              "change": cell(share - RIGHT["base"], 0.05, 80) if arm != "base" else {}}
        for arm, share in RIGHT.items()
    }  # fmt: skip
    lost = cell(-0.5, 0.08, 100) | {"outcome": "lost"}
    kept = cell(0.0, 0.03, 64) | {"outcome": "kept"}
    guarded = {"irrelevance": lost, "instruction_following": kept}
    gates = {
        "sft": {"reference": "base", "outcome": "kept", "metrics": dict.fromkeys(guarded, kept)},
        "nat": {"reference": "base", "outcome": "lost", "metrics": guarded},
    }
    return {"latency": latency, "quantized": {"nat": packed}, "overall": overall, "gate": gates,
            "costs": {"base": {"energy_j": None}, "sft": costs, "nat": costs}}  # fmt: skip


def verdict_file(scores: dict, differences: dict) -> dict:
    """verdict.json as the evaluation makes it of the other files."""
    gates = other_files()["gate"]
    boards = (adapter_of(kind).validate_python(x) for x, kind in
              ((scores, Scores), (differences, Differences)))  # fmt: skip
    chosen = ("nat", "chosen on val (71.0 % of 32 val rows), not on the test")
    return conclusion_of(*boards, chosen, GateResult.read({"arm": "nat"} | gates["nat"])).record()


def realism(text: str) -> dict:
    """What the generate step says of its rows."""
    return {
        "rows": 32, "named_tool_share": 0.031, "misfit_share": 0.0, "grounded_share": 0.98,
        "distinct_2": 0.74, "coverage": {"tools": 1.0, "parameters": 0.83}, "auc_real": 0.67,
        "real_rows": 20, "misfits": [f"city = {text}"],
        "samples": {"template": ["Please get the weather of Oslo."], "real": [text]},
    }  # fmt: skip


def robustness_file() -> dict:
    """robustness.json: two perturbations of every arm; each drop is told apart from zero."""
    drops = {"typos": -0.14, "lost_value": -0.31}
    return {
        arm: {
            name: {"exact_match": cell(drop, 0.06, 12) | {"clean": x, "perturbed": x + drop}}
            for name, drop in drops.items()
        }
        for arm, x in RIGHT.items()
    }


def rollout_lines(hostile: bool) -> list[dict]:
    """rollouts.parquet: of base one that failed, of nat one that reached its goal."""
    out = []
    for arm, done in (("base", 0.0), ("nat", 1.0)):
        call = ToolCall("get_weather", '{"city": "Oslo"}')
        said = (
            Message("user", HOSTILE if hostile else "Is it raining in Oslo?"),
            Message("assistant", thought="I look it up.", tool_calls=(call,)),
            Message("tool", '{"rain": true}', name="get_weather"),
            Message("assistant", "It rains." if done else HOSTILE if hostile else "No idea."),
        )
        row = finish(Trajectory(messages=said, tools=(tool("get_weather"),), split="trajectories"))
        facts = {"arm": arm, "task": "t1", "trial": 0, "agent": "qa", "goal": "weather"}
        facts |= {"end": "answered", "task_completion": done}
        out.append(facts | {"row": json.dumps(to_row(row))})
    return out


def trials() -> list[dict]:
    rng, out = random.Random(3), []
    for i in range(9):
        low, high = sorted([rng.random(), rng.random()])
        weights = {"positive": low, "synthetic": high - low, "negative": 1 - high}
        top, steps = 0.4 + 0.4 * low, range(1, 4 if i % 3 else 2)
        reports = [{"step": 8 * k, "exact_match": top * k / 3, "val_loss": 2 / k} for k in steps]
        config = {"train.learning_rate": 1e-3 / (i + 1)}
        score, line = (
            reports[-1]["exact_match"],
            {"trial_id": f"t{i:03}", "status": "finished" if i % 3 else "stopped"},
        )
        line |= {"config": config, "weights": weights, "reports": reports}
        out.append(line | {"score": score, "error": ""})
    out[4] |= {"status": "failed", "reports": [], "score": None, "error": "RuntimeError: no memory"}
    return out


def training_line(step: int, start: float) -> dict:
    loss = start / (1 + step / 20) + 0.1 * random.Random(step).random()
    line = {"step": step, "loss": loss, "learning_rate": 1e-3 * (1 - step / 80), "grad_norm": 1.0}
    return line | {"tokens_per_s": 900 + step, "peak_memory_mib": 2100}


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def manifest(step: str, came: int, left: int, rejected=None, failed=None, **more) -> dict:
    facts = {
        "step": step,
        "key": hashlib.sha256(step.encode()).hexdigest()[:16],
        "config": {},
        "inputs": {},
        "revision": "4654c41",
        "seconds": 31.5,
        "commit": "0d9f8e7",
        "started": 1772359200.25,
        "finished": 1772359231.75,
        "versions": {"python": "3.11.9", "vllm": "0.32.0"},
        "hardware": {"cpu": "2 cores", "memory_gib": 8},
        "rows": {"in": came, "out": left, "rejected": rejected or {}, "failed": failed or {}},
    }
    return facts | more


def renamed(value, names: dict[str, str]):
    """The value with some strings replaced, keys too."""
    if isinstance(value, dict):
        return {names.get(k, k): renamed(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(v, names) for v in value]
    return names.get(value, value) if isinstance(value, str) else value


def make_run(path: Path, hostile: bool = False) -> Path:
    """A whole run folder; `hostile` puts strings that attack the page wherever data can be."""
    made = rows() + (hostile_rows() if hostile else [])
    attacked = ("demo", "nat", "test_seen", "t003", "vllm", "format_adherence", "lost_value")
    names = {n: n + HOSTILE for n in attacked if hostile}
    names |= {"demo": f"{HOSTILE} half a pair: \ud800"} if hostile else {}
    bad = sum(bool(r.reject_reason) for r in made)
    read = [r for r in made if r.pool == "positive"]
    new, kept = len(made) - len(read), len(made) - bad
    weights = {"positive": 0.5, "synthetic": 0.2, "negative": 0.3}
    config = {"name": "demo", "seed": 17, "mix": {"weights": weights}}
    dump(path / "config.json", renamed(config | {"evaluate": {"confidence": 0.95}}, names))
    steps = [
        manifest("read", len(read) + 3, len(read), failed={"no messages": 3}),
        manifest("generate", new + 12, new, {"lost_value": 12}, funnel=GENERATED,
                 realism=realism(HOSTILE if hostile else "Is it going to rain tomorrow?")),
        manifest("label", len(made), kept, {"duplicate": bad}, funnel=LABELLED),
        manifest("mix", kept, 250, {"over_budget": 30}, arms=ARMS, inputs={"label": "9f" * 8}),
        *(manifest(step, 300, 300) for step in ("train", "tune")),
        manifest("evaluate", 300, 300, energy="this machine tells no energy"),
    ]
    for facts in steps:
        dump(path / facts["step"] / "manifest.json", renamed(facts, names))
    (path / "label").mkdir(exist_ok=True)
    half = len(made) // 2
    pq.write_table(to_table(made[:half]), path / "label/rows-00000.parquet")
    pq.write_table(to_table(made[half:]), path / "label/rows-00001.parquet")
    for arm, start in (("sft", 2.4), ("nat", 2.6)):
        (path / f"train/{arm}").mkdir(parents=True)
        text = "".join(json.dumps(training_line(s, start)) + "\n" for s in range(1, 80))
        (path / f"train/{arm}/metrics.jsonl").write_text(text + '{"step": 80, "lo')
    given = answers(made, hostile)
    scores, differences = score_files(given)
    dump(path / "evaluate/scores.json", renamed(scores, names))
    dump(path / "evaluate/differences.json", renamed(differences, names))
    verdict = renamed(verdict_file(scores, differences), names)
    dump(path / "evaluate/verdict.json", verdict)
    for name, value in other_files().items():
        dump(path / f"evaluate/{name}.json", renamed(value, names))
    pq.write_table(pa.Table.from_pylist(rollout_lines(hostile)), path / "evaluate/rollouts.parquet")
    dump(path / "evaluate/robustness.json", renamed(robustness_file(), names))
    pq.write_table(pa.Table.from_pylist(renamed(given, names)), path / "evaluate/answers.parquet")
    dump(path / "tune/trials.json", renamed(trials(), names))
    dump(path / "tune/guide.json", renamed(GUIDANCE, names))
    guide = GUIDE + (HOSTILE_GUIDE if hostile else "")
    (path / "tune/guide.md").write_text(guide, encoding="utf-8")
    return path


if __name__ == "__main__":
    print(report.write_report(make_run(Path(sys.argv[1]), hostile=len(sys.argv) > 2)))
