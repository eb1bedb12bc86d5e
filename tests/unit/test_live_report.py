"""`report --serve`: what loopback answers."""

import http.client
import os
import shutil
import threading

import pytest
from report_run import make_run

from raytune_agents.config import ConfigError
from raytune_agents.infra.run_lock import LOCK, locked
from raytune_agents.report.folder import read_run
from raytune_agents.report.live import LiveReport
from raytune_agents.storage import append_jsonl, write_json


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    with LiveReport(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server, path="/", host=""):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Refresh"), answer.read().decode()


def test_the_page_follows_the_run(served):
    status, refresh, text = ask(served)
    assert (status, refresh) == (200, "15")
    assert "<html" not in text  # no step has ended
    make_run(served.run_dir)
    assert "<html" in ask(served)[2]
    first = (served.run_dir / "report.html").stat().st_mtime_ns
    ask(served)
    assert (served.run_dir / "report.html").stat().st_mtime_ns == first  # nothing new, not written
    manifest = next(served.run_dir.glob("*/manifest.json"))
    os.utime(manifest, (served.seen + 9, served.seen + 9))
    ask(served)
    assert (served.run_dir / "report.html").stat().st_mtime_ns > first


def test_a_finished_run_that_runs_again_is_followed(served):
    make_run(served.run_dir)
    write_json(served.run_dir / "report" / "manifest.json", {})
    assert ask(served)[1] is None
    with locked(served.run_dir / LOCK):
        assert ask(served)[1] == "15"
    assert ask(served)[1] is None


def test_files_that_go_while_they_are_read_leave_the_old_page(served, monkeypatch):
    make_run(served.run_dir)
    text = ask(served)[2]
    before = served.seen
    manifest = next(served.run_dir.glob("*/manifest.json"))
    os.utime(manifest, (before + 9, before + 9))

    def gone(folder):
        raise FileNotFoundError(folder / "label")

    with monkeypatch.context() as patch:
        patch.setattr("raytune_agents.report.live.write_report", gone)
        assert ask(served)[2] == text
    assert served.seen == before
    ask(served)  # and the next time it is written
    assert served.seen > before


def test_a_search_is_followed_while_it_goes_on(served):
    tune = served.run_dir / "tune"
    make_run(served.run_dir)
    shutil.rmtree(tune)
    ask(served)
    ended = {"trial_id": "one", "stage": "noise", "status": "finished", "score": 0.5}
    write_json(tune / "stages" / "noise.json", [ended])
    write_json(tune / "stages" / "noise.starts.json", [1.0])
    text = ask(served)[2]
    assert "finished noise" in text
    for report, trial in enumerate(("one", "two", "two")):
        line = {"stage": "search", "trial_id": trial, "report": report, "exact_match": 0.4}
        append_jsonl(tune / "metrics.jsonl", line | {"step": 3, "tokens": 400})
        os.utime(tune / "metrics.jsonl", (served.seen + 1, served.seen + 1))
    found = read_run(served.run_dir).trials
    assert [(t["trial_id"], len(t.get("reports", ()))) for t in found] == [("one", 0), ("two", 2)]
    assert "reported search" in ask(served)[2]
    before = served.seen
    os.utime(served.run_dir / "evaluate" / "scores.json", (before + 9, before + 9))
    ask(served)
    assert served.seen > before


def test_other_paths_and_hosts_are_refused(served):
    make_run(served.run_dir)
    assert ask(served, "/config.json")[0] == 404
    assert ask(served, "/../demo/report.html")[0] == 404
    assert ask(served, host="evil.example:80")[0] == 421
    assert ask(served, host=f"localhost:{served.server_port}")[0] == 200


def test_a_port_in_use_is_named(served):
    with pytest.raises(ConfigError, match=f"--port {served.server_port}: .* write another"):
        LiveReport(served.run_dir, served.server_port)
