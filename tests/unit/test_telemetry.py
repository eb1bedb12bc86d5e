"""Metrics without Ray are nothing; the dashboard asks for metrics that exist; logs are JSON."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from finished import finish_step
from rich.console import Console

from raytune_agents.infra import telemetry
from raytune_agents.progress import Display
from raytune_agents.runs import Counts

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana.json"


def test_without_ray_nothing_is_counted(tmp_path: Path) -> None:
    telemetry.add("raytune_rows", 3, run="r", step="read", outcome="out")
    step = finish_step(tmp_path / "read", counts=Counts(2, 1, Counter(x=1)))
    telemetry.finished("r", "read", step.manifest)
    assert telemetry.metric.cache_info().currsize == 0


def test_the_dashboard_asks_for_metrics_and_labels_that_exist() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "panels", "schemaVersion", "templating"} <= set(board)
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) >= len(telemetry.METRICS)
    shown, names = set(), {}
    for name, (kind, _, labels) in telemetry.METRICS.items():
        names[f"ray_{name}_total" if kind == "Counter" else f"ray_{name}"] = labels
    for panel in board["panels"]:
        assert {"x", "y", "w", "h"} == set(panel["gridPos"])
        (target,) = panel["targets"]
        for used in re.findall(r"ray_raytune_\w+", target["expr"]):
            assert used in names, used
            shown.add(used)
            for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert set(group.split(", ")) <= set(names[used])
            if "{run=" in target["expr"]:
                assert "run" in names[used]
    assert shown == set(names)


def test_logs_as_json(monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    out = io.StringIO()
    display = Display(Console(file=out, width=40))
    display.run, display.current, display.json = "mine", "generate", True
    display.say("shard is down: 0123456789abcdef " + "x" * 80, "red", shard=7)
    with display.step("tune", 2) as bar:
        bar.spoke = -100
        bar.update(1, 5, note="trial abc [bold]")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first.pop("time") > 0
    assert first == {
        "level": "error", "run": "mine", "step": "generate", "shard": 7,
        "message": "shard is down: [SOME_API_KEY] " + "x" * 80,
    }  # fmt: skip
    assert (second["done"], second["total"], second["tokens"]) == (1, 2, 5)
    assert second["message"].endswith("trial abc [bold]")


def test_speed_leaves_the_start_out() -> None:
    """A slow first row says nothing of the rest: 5 rows in 10 s, 4 left: 8 s."""
    out = io.StringIO()
    with Display(Console(file=out, width=100)).step("train", 10) as bar:
        bar.spoke = -100
        bar.update(1, 50)
        bar.started, bar.spoke = bar.started - 10, -100
        bar.update(5, 100)
    first, second = out.getvalue().splitlines()
    assert " ".join(first.split()) == "train 1/10 50 tokens"
    assert " ".join(second.split()) == "train 6/10 150 tokens, 10 tokens/s ETA 8 s"


@pytest.mark.slow
def test_ray_exports_our_metrics() -> None:
    """A Prometheus scrape of a local Ray shows what was counted."""
    import socket
    import time
    import urllib.request

    import ray

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(address="local", num_cpus=1, include_dashboard=False, _metrics_export_port=port)
    try:
        telemetry.add("raytune_rows", 3, run="mine", step="read", outcome="out")
        telemetry.set_to("raytune_acceptance", 0.5, run="mine", step="synthetic")
        stop, text = time.monotonic() + 60, ""
        while "raytune_rows" not in text and time.monotonic() < stop:
            time.sleep(1)
            url = f"http://{ray.util.get_node_ip_address()}:{port}/metrics"
            try:
                text = urllib.request.urlopen(url, timeout=5).read().decode()
            except OSError:
                continue
        lines = [x for x in text.splitlines() if x.startswith("ray_raytune")]
        assert any(re.match(r"ray_raytune_rows_total\{.*\} 3\.0", x) for x in lines), lines
        assert any(re.match(r"ray_raytune_acceptance\{.*\} 0\.5", x) for x in lines), lines
    finally:
        ray.shutdown()
        telemetry.metric.cache_clear()
