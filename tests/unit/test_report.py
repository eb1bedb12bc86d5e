"""The report of a run folder: content, escaping, gaps, size; its findings by hand."""

import base64
import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_run import GENERATED, LABELLED, dump, make_run, manifest

from raytune_agents import redact, report
from raytune_agents.evaluate.estimates import Estimate
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.metrics import METRICS
from raytune_agents.evaluate.scoreboard import first_columns
from raytune_agents.report import (
    boards,
    cases,
    charts,
    digest,
    findings,
    folder,
    numbers,
    tables,
)


class Page(HTMLParser):
    """What a browser would see: tags, attributes, and the text outside style and script."""

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
    return report.write_report(make_run(tmp_path_factory.mktemp("runs") / "demo"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return report.write_report(make_run(tmp_path_factory.mktemp("runs") / "hostile", hostile=True))


SECTIONS = {
    *("overview", "arms", "answers", "where", "data"),
    *("training", "search", "errors", "repeat"),
}
WORDS = [
    *("nat beats the base model on test_unseen", "no messages 3", "lost_value 12", "duplicate 5"),
    *("RuntimeError: no memory", "vllm", "4654c41", "negative.wrong_value", "get_weather"),
    *("6,000 (50 %, 1.4 epochs)", "off by", "9f9f9f9f", "Train on 60 % positives."),
    *("Recommended mix", "Exact match by number of calls"),
    *("2026-03-01 10:00:31 UTC", "0d9f8e7", "5 more metrics on test_seen"),
]


@pytest.mark.parametrize("word", WORDS)
def test_page_says(demo, word):
    assert word in Page(demo).text


def test_page_has_every_section_and_the_scores(demo):
    page = Page(demo)
    assert {v for _, k, v in page.attributes if k == "id"} >= SECTIONS
    assert page.tags.count("svg") >= 18
    scores = json.loads((demo.parent / "evaluate/scores.json").read_text())
    for arm in ("base", "sft", "nat"):
        for split in ("test_seen", "test_unseen"):
            assert f"{scores[arm][split]['exact_match']['value'] * 100:.1f} %" in page.text
    assert "not in this run yet" not in page.text.lower()


def test_page_fetches_nothing(demo):
    page, raw = Page(demo), demo.read_text(encoding="utf-8")
    names = ("src", "href", "action", "data", "srcset", "poster", "xlink:href")
    links = [v for _, k, v in page.attributes if k in names]
    assert all(v.startswith(("#", "data:,", "data:text/csv;base64,")) for v in links), links
    style = raw.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in raw


def test_hostile_strings_are_text(hostile):
    """No tag, attribute or control of the data survives; its words do."""
    page, raw = Page(hostile), hostile.read_text(encoding="utf-8")
    assert (page.tags.count("script"), page.tags.count("style")) == (1, 1)
    assert not {"img", "b/", "iframe", "base"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    hrefs = [v for _, k, v in page.attributes if k == "href"]
    assert all(v.startswith(("#", "data:,", "data:text/csv;base64,")) for v in hrefs), hrefs
    assert not redact.CONTROLS.search(raw)
    for words in (
        "<script>alert('x')</script></style>",
        "user⟨U+202E⟩gnp.exe⟨U+2066⟩ ⟨U+0000⟩⟨U+200B⟩ tail",
        "half a pair: ⟨U+D800⟩",
        "{{ 7*7 }}",
        "שלום",
        "[cut: the first 1,200 of 1,000,000 characters]",
        "[cut: the first 900 of 1,000,",
        "[x](javascript:alert(1))",
    ):
        assert words in page.text, words
    assert len(raw.encode()) < 5_000_000
    md = hostile.with_name("report.md").read_text(encoding="utf-8")
    assert "<script" not in md
    assert not redact.CONTROLS.search(md)


def test_markdown_and_csv_beside_the_page(demo, hostile):
    md = demo.with_name("report.md").read_text()
    assert "| label | 292 | 287 | 5 | 0 |" in md
    assert "nat beats the base model" in md
    table = list(csv.DictReader((demo.parent / "report/scores.csv").open()))
    scores = json.loads((demo.parent / "evaluate/scores.json").read_text())
    line = next(x for x in table if x["arm"] == "nat" and x["split"] == "test_unseen")
    assert float(line["value"]) == scores["nat"]["test_unseen"][line["metric"]]["value"]
    for path in (demo.parent / "report").glob("*.csv"):
        widths = {len(line) for line in csv.reader(path.open(newline=""))}
        assert len(widths) == 1, path.name
    pools = list(csv.DictReader((demo.parent / "report/pools.csv").open()))
    assert sum(int(x["rows"]) for x in pools) == 292
    given = pq.read_table(demo.parent / "evaluate/answers.parquet").to_pylist()
    wrong = list(csv.DictReader((demo.parent / "report/errors.csv").open()))
    assert len(wrong) == sum(a["exact_match"] == 0 for a in given)
    assert "never answered" not in Page(demo).text  # an outage is no wrong answer
    long = list(csv.DictReader((hostile.parent / "report/errors.csv").open(newline="")))
    assert max(len(x["answer"]) for x in long) < 2100
    assert [tables.cell(v) for v in ("=1+1", "@cmd", -1.5, None)] == ["'=1+1", "'@cmd", -1.5, ""]
    assert [tables.cell(v) for v in (" =1", "\n+1", "＝1", "a=1")] == [
        "' =1",
        "'\n+1",
        "'＝1",
        "a=1",
    ]
    assert tables.csv_text((["=a"], [["@b"]])) == "'=a\n'@b\n"


def test_robustness_and_rollouts_are_shown(demo):
    page = demo.read_text()
    assert 'id="robustness"' in page
    assert "−31.0 <small>(−37.0 to −25.0)</small>" in page  # the change of every arm
    assert "tasks completed" in page
    rollouts = page[page.index('id="rollouts"') : page.index('id="where"')]
    assert rollouts.index("not completed") < rollouts.index('tag good">completed')
    assert "{&#34;rain&#34;: true}" in rollouts
    lines = list(csv.DictReader((demo.parent / "report/robustness.csv").open()))
    assert {(x["arm"], x["perturbation"]) for x in lines} >= {("nat", "typos"), ("base", "typos")}
    nat = next(x for x in lines if (x["arm"], x["perturbation"]) == ("nat", "typos"))
    assert (nat["clean"], nat["value"]) == ("0.74", "-0.14")
    text = (demo.parent / "report.md").read_text()
    assert "| typos | 12 | 45.0 % → 31.0 %; −14.0 (−20.0 to −8.0) |" in text


def test_funnels_inside_a_step(demo):
    facts = {"generate": {"funnel": GENERATED}, "label": {"funnel": LABELLED}}
    made, labelled = findings.stages(facts)
    assert made.head == ["pool", "tried", "similar", "judged", "kept"]  # others lost no row
    assert made.lines == [("tflan", [40, 3, 5, 32])]
    assert labelled.lines[0] == ("all", [9, 2, 7])
    assert findings.stages({"generate": {}}) == []
    assert findings.left_after(GENERATED)[0] == ("tried", 40)
    assert findings.left_after(GENERATED)[-1] == ("judged", 32)
    assert findings.left_after([]) == []
    assert "Synthetic rows left after each check" in demo.read_text()
    assert "Stages of generate, by pool" in demo.read_text()
    assert (demo.parent / "report/stages_label.csv").is_file()


def test_negatives_of_every_fault_are_shown(demo):
    run = folder.read_run(demo.parent)
    shown = cases.example_rows(run)
    kinds = {(g.pool, g.fault) for g in run.groups if g.fault}
    assert {(r.pool, r.fault) for r in shown["negative"]} == kinds
    assert len(shown["positive"]) == 3
    assert f"{len(kinds) - 3} more: one of each kind" in demo.read_text()


def test_errors_have_the_lineage_that_trace_prints(demo):
    page = demo.read_text()
    assert re.search(r"<li>row <code>\w{16}</code> · step read, seed 0 · bfcl/simple_python", page)


def test_labels_of_near_dots_do_not_cover_each_other():
    plot, taken, boxes = (46, 16, 304, 188), [], []
    for place in ((200.0, 60.0), (204.0, 62.0), (202.0, 66.0), (299.0, 60.0)):
        box = charts.free_label(place, 4, plot, taken)[2]
        assert plot[0] <= box[0]
        assert box[2] <= charts.WIDTH
        assert all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in boxes)
        taken.append(box)
        boxes.append(box)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("exact_match", 0.456, "45.6 %"),
        ("first_token_ms", 41.23, "41.2 ms"),
        ("train_seconds", 720.0, "12 min"),
        ("engine_peak_memory_mib", 2100.0, "2,100 MiB"),
        ("output_tokens", 24.6, "24.6"),
        ("perplexity", 1.31, "1.31"),
        ("exact_match", None, "–"),
        ("exact_match", float("nan"), "–"),
    ],
)
def test_a_value_is_written_with_its_unit(name, value, shown):
    assert numbers.metric_value(METRICS[name], value) == shown


def test_differences_are_written_with_sign_and_points():
    share, time = METRICS["exact_match"], METRICS["first_token_ms"]
    assert numbers.metric_change(share, -0.123) == "−12.3"
    assert numbers.metric_change(time, 3.0) == "+3 ms"
    assert numbers.change_range(share, -0.2, 0.05) == "−20.0 to +5.0"
    assert numbers.metric_interval(share, 0.1, 0.25) == "10.0 – 25.0 %"
    assert numbers.metric_interval(share, None, 0.25) == ""


def test_the_first_screen_answers_six_questions(demo):
    """Better, where, what was lost, which mix, how sure, what it cost; what was lost is said as
    loudly as what was gained."""
    page = Page(demo)
    first = page.text[page.text.index("Run demo") : page.text.index("Each cell:")]
    questions = ("Is it better?", "Where?", "What was lost?", "Which mix?", "How sure?",
                 "What did it cost?")  # fmt: skip
    places = [first.index(q) for q in questions]
    assert places == sorted(places)
    gate = "Better, but lost against base: irrelevance −50.0 points (−58.0 to −42.0, n = 100)."
    assert first.index(gate) < places[0]
    assert "irrelevance" in first[places[2] : places[3]]
    assert first[places[2] : places[3]].count("against base") == 1  # metric and gate both lost
    assert "50 / 30 / 20\u00a0%" in first[places[3] : places[4]]
    assert "training time 62 s" in first[places[5] :]
    assert "hallucination (+5.0 on test_unseen, +5.0 on test_seen)" in first
    assert "chosen on val (71.0 % of 32 val rows), not on the test" in first


def test_tables_beside_the_splits(demo):
    text = Page(demo).text
    for words in ("Overall", "Latency", "requests at once", "113 ms", "What each arm cost",
                  "Weights in fewer bits", "unpacked", "70.0 %", "1,913 MiB",
                  "How sure an arm is of its answers", "Granite-4.0-350m", "67.9 %"):  # fmt: skip
        assert words in text, words
    assert "energy of answering" not in text  # no machine told it, so it is no column


def test_every_chart_gives_its_data_and_tells_its_values(demo):
    page = Page(demo)
    files = [v for t, k, v in page.attributes if (t, k) == ("a", "href") and "csv" in v]
    assert len(files) == page.tags.count("figure")
    tables = [base64.b64decode(v.partition(",")[2]).decode() for v in files]
    curve = next(t for t in tables if t.startswith("series,optimiser step,loss by step\n"))
    assert "\nsft,1.0," in curve
    assert any(t.startswith("name,value,low,high\nbase,") for t in tables)
    raw = demo.read_text()
    assert len(re.findall(r'class="dot hit c\d"', raw)) > 100  # points of the curves
    assert re.search(r"<title>sft: [\d.]+ at [\d.]+</title>", raw)


def test_columns_that_say_nothing_leave_the_first_tables(demo):
    """Rows where no call is right have exact match and irrelevance alike: one column, by the name
    that says more; a metric that no row has is none."""
    cell, none = Estimate(0.5, 0.4, 0.6, 9), Estimate()
    scores = {"base": {"exact_match": cell, "irrelevance": cell, "cut_rate": none},
              "nat": {"exact_match": cell, "irrelevance": cell}}  # fmt: skip
    assert [m.name for m in first_columns(scores, METRICS)] == ["irrelevance"]
    other = {"nat": {"exact_match": Estimate(0.6, 0.5, 0.7, 9), "irrelevance": cell}}
    both = [m.name for m in first_columns(scores | other, METRICS)]
    assert both == ["exact_match", "irrelevance"]


def test_a_young_run_says_what_is_missing(tmp_path):
    dump(tmp_path / "read/manifest.json", manifest("read", 10, 10))
    page = Page(report.write_report(tmp_path))
    assert "There is no verdict yet" in page.text
    for name in ("evaluate/scores.json", "label/rows-*.parquet", "train/ARM/metrics.jsonl"):
        assert name in page.text, name
    assert "tune/trials.json" not in page.text  # no search was run, so none is missed


def test_the_seconds_of_an_arm_are_those_of_its_step(tmp_path):
    for step in ("train", "train/sft", "train/nat"):
        dump(tmp_path / step / "manifest.json", manifest(step.replace("/", "-"), 10, 10))
    text = Page(report.write_report(tmp_path)).text
    assert "31.5 s1 step" in text.replace("\n", "").replace("  ", "")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(report.ReportError, match=r"no STEP/manifest.json.*runs/demo"):
        report.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_broken_files_are_named_and_the_rest_is_shown(tmp_path):
    run = make_run(tmp_path / "demo")
    (run / "evaluate/differences.json").write_text('{"nat": ')
    half = {"base": {"val": {"exact_match": 0.5}}, "nat": {"val": {"exact_match": {"value": None}}}}
    dump(run / "evaluate/scores.json", half)
    dump(run / "tune/trials.json", {"not": "a list"})
    (run / "train/sft/metrics.jsonl").write_text(
        '{"step": 1, "loss": 9}\nnot json\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": 1e999}\n'
        '{"step": 1, "loss": 2.0}\n[1]\n{"step": 4, "loss": 1e308}\n'
    )
    page = Page(report.write_report(run))
    for words in (
        "evaluate/differences.json is damaged",
        "evaluate/scores.json: base val exact_match: ",
        "trials.json holds a dict, not a list",
        "train/sft/metrics.jsonl: 2 lines are not JSON objects with a step",
        "get_weather",
    ):
        assert words in page.text, words
    # after a resume the last line of a step counts
    assert folder.read_run(run).curves["sft"][0] == {"step": 1, "loss": 2.0}


@pytest.mark.parametrize("content", [b"", b"PAR1 no table", None])
def test_a_broken_table_is_named_and_the_rest_is_shown(tmp_path, content):
    run = make_run(tmp_path / "demo")
    names = ("label/rows-00001.parquet", "evaluate/answers.parquet", "evaluate/rollouts.parquet")
    for path in (run / name for name in names):
        path.write_bytes(content if content is not None else path.read_bytes()[:-40])
    (run / "tune/guide.json").write_text("[" * 100_000)
    text = Page(report.write_report(run)).text
    for name in (*names, "tune/guide.json"):
        assert f"{name} is damaged: " in text, name
    assert "get_weather" in text
    pq.write_table(pa.table({"id": [1], "exact_match": [1.0]}), run / names[1])  # other columns
    pq.write_table(pa.table({"arm": ["base"], "task_completion": [1.0]}), run / names[2])
    problems = folder.read_run(run).problems
    assert all(any(name in line for line in problems) for name in names[1:])


def test_many_long_errors_still_fit(tmp_path):
    run, wide = make_run(tmp_path / "demo"), "&" * 3000  # five bytes each in HTML
    row = {"gold": "[]", "tools": "[]", "exact_match": False, "error": "e", "query": wide}
    row |= {"split": "val", "answer": wide, "latency_s": 1.0, "output_tokens": 9}
    ids = [{"id": str(i), "fault": f"fault{i % 7}"} for i in range(900)]
    given = [row | i | {"arm": arm} for i in ids for arm in ("base", "a", "b")]
    pq.write_table(pa.Table.from_pylist(given), run / "evaluate/answers.parquet")
    path = report.write_report(run)
    assert path.stat().st_size < 5_000_000
    assert "200 of 900 are listed here" in Page(path).text


def test_writing_again_gives_the_same_bytes(demo):
    before = demo.read_bytes()
    report.write_report(demo.parent)
    assert demo.read_bytes() == before
    assert not list(demo.parent.rglob("*.part"))


def test_importing_the_report_loads_no_engine():
    code = (
        "import sys, raytune_agents.report as r; print({'ray', 'torch', 'vllm'} & {*sys.modules})"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert out.stdout.strip() == "set()", out.stderr


def test_generated_requests_stand_beside_the_users_own(demo, tmp_path):
    text = Page(demo).text
    figures = ("told apart from your own rows", "0.67", "3.1 %", "AUC of a classifier")
    for words in (*figures, "going to rain tomorrow?", "Please get the weather of Oslo."):
        assert words in text, words
    assert text.index("your own rows", text.index("0.67")) < text.index("templates")
    assert findings.generated_quality({}) is None
    assert findings.generated_quality({"generate": {"realism": {"rows": 0}}}) is None


# --- figures for a script ---


def test_the_digest_has_the_figures_of_the_run(demo):
    found = report.digest_of(demo.parent)
    assert (found["verdict"]["arm"], found["verdict"]["tone"]) == ("nat", "better")
    assert found["gate"]["outcome"] == "lost"
    assert found["kept_share"] == pytest.approx(250 / 287)
    assert found["question_to_call_share"] == 0.0  # "Could you, for request 3, do it?" is an order
    shares = found["negatives_by_fault"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    given = pq.read_table(demo.parent / "evaluate/answers.parquet").to_pylist()
    right = [a["exact_match"] for a in given if a["arm"] == "nat" and not a["failed"]]
    assert found["exact_match"]["nat"] == pytest.approx(sum(right) / len(right))
    assert found["cut_share"] == found["server_parsable"] == {}  # an older run did not measure them
    json.dumps(found)


def test_the_command_prints_them_as_json_alone(demo):
    from typer.testing import CliRunner

    from raytune_agents.cli.app import app

    done = CliRunner().invoke(app, ["report", str(demo.parent), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["kept_share"] == pytest.approx(250 / 287)
    done = CliRunner().invoke(app, ["report", str(demo.parent / "report"), "--json"])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("How do I export my data?", True),
        ("Hi! How can I reset the password?", True),
        ("What's the best way to cancel an order?", True),
        ("Can you explain how to book a table?", True),
        ("Is there a way to share a file?", True),
        ("How warm is it in Oslo?", False),
        ("Can you tell me how many users signed up?", False),
        ("Export my data, please.", False),
        ("Show me how sales went in May.", False),
        ("What is the weather in Rome?", False),
    ],
)
def test_a_question_how_is_told_from_a_request(text, how):
    assert digest.asks_how(text) is how


def test_optimal_matching_stands_only_where_it_differs():
    half, whole = Estimate(0.5, 0.2, 0.8, 8), Estimate(1.0, 0.7, 1.0, 8)
    same = {"base": {"exact_match": half, "exact_match_optimal": half}}
    assert boards.repeats("exact_match_optimal", same)
    assert not boards.repeats("exact_match", same)
    other = same | {"sft": {"exact_match": half, "exact_match_optimal": whole}}
    assert not boards.repeats("exact_match_optimal", other)


def test_arms_stand_beside_public_models_where_they_were_asked_rows_of_bfcl():
    """Two categories, one with 1 of 2 and one with 2 of 2 right: their unweighted mean."""

    def answer(category: str, right: float, split: str = "test_seen") -> AnswerRow:
        values = {"exact_match": right}
        return AnswerRow("nat", split, "r", values=values, source=f"bfcl/{category}")

    answers = [answer("multiple", 1.0), answer("multiple", 0.0), answer("simple_python", 1.0)]
    answers += [answer("simple_python", 1.0), answer("live_simple", 0.0, split="val")]
    *public, ours = boards.anchor_grid(answers, ["base", "nat"], {}).lines
    assert [name for name, _ in public] == ["Granite-4.0-350m", "Hammer2.1-0.5b", "Qwen3-0.6B"]
    assert ours == ("nat", ["75.0 % of 4 rows in 2 of 4 categories", "–", "–"])
    assert boards.trained_on_bfcl({"read": {"sources": [{"path": "bfcl"}]}})
    assert not boards.trained_on_bfcl({"read": {"sources": [{"path": "mine.jsonl"}]}})
