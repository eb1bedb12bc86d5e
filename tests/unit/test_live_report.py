"""`report --serve`: what loopback answers."""

import http.client
import os
import threading

import pytest
from report_run import make_run

from raytune_agents.config import ConfigError
from raytune_agents.report.live import LiveReport


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


def test_other_paths_and_hosts_are_refused(served):
    make_run(served.run_dir)
    assert ask(served, "/config.json")[0] == 404
    assert ask(served, "/../demo/report.html")[0] == 404
    assert ask(served, host="evil.example:80")[0] == 421
    assert ask(served, host=f"localhost:{served.server_port}")[0] == 200


def test_a_port_in_use_is_named(served):
    with pytest.raises(ConfigError, match=f"--port {served.server_port}: .* write another"):
        LiveReport(served.run_dir, served.server_port)
