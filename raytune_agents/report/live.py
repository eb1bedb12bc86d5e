"""`report --serve`: the page of a run on loopback, written anew as the run goes on."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from raytune_agents.config import ConfigError
from raytune_agents.infra.run_lock import user_of
from raytune_agents.report import write_report
from raytune_agents.report.folder import ReportError
from raytune_agents.storage import written_at

REFRESH_S = 15
WRITTEN = (
    *("*/manifest.json", "*/started.json", "train/*/metrics.jsonl", "train/*/rounds.json"),
    *("evaluate/*.json", "tune/*.json", "tune/metrics.jsonl", "tune/stages/*.json"),
)


class LiveReport(ThreadingHTTPServer):
    """Answers `/` with RUN/report.html. Bound to loopback, and to requests that name it so: a page
    elsewhere could else read the report under a name of its own (DNS rebinding). Raises ConfigError
    where the port is taken."""

    daemon_threads = True

    def __init__(self, run_dir: Path, port: int):
        try:
            super().__init__(("127.0.0.1", port), PageHandler)
        except OSError as error:
            raise ConfigError(f"--port {port}: {error.strerror}; write another, or 0") from None
        self.run_dir, self.seen, self.lock = run_dir, -1.0, Lock()
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def under_way(self) -> bool:
        """Whether the page may change: a process has the run (one that has ended may be run again
        with other options), or its report step has not ended."""
        ended = (self.run_dir / "report" / "manifest.json").is_file()
        return user_of(self.run_dir) != "" or not ended

    def page(self) -> bytes:
        """The page, written again where the run has written since. Raises ReportError."""
        with self.lock:
            files = [path for pattern in WRITTEN for path in self.run_dir.glob(pattern)]
            newest = max(map(written_at, files), default=0.0)
            page = self.run_dir / "report.html"
            if newest > self.seen:
                try:
                    write_report(self.run_dir)
                    self.seen = newest
                except OSError:  # a step that is done again clears its folder while we read it
                    if not page.is_file():
                        raise
            return page.read_bytes()


class PageHandler(BaseHTTPRequestHandler):
    """GET `/`; everything else is refused."""

    server: LiveReport
    timeout = 60.0  # for a request to come, or its thread would wait for good

    def do_GET(self) -> None:
        """The page; before the first step has ended, a line that says so."""
        if self.headers.get("Host") not in self.server.hosts:
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        if self.path != "/":
            return self.send_error(HTTPStatus.NOT_FOUND)
        kind = "text/html"
        try:
            body = self.server.page()
        except ReportError as error:
            kind, body = "text/plain", f"{error}\n".encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.server.under_way:
            self.send_header("Refresh", str(REFRESH_S))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a terminal has the run's own lines."""
