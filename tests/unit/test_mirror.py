"""Run folders in an object store, against a real S3 server on loopback (moto, in a process of its
own) where it is installed: `pip install 'moto[server]'`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest
from pyarrow import fs

from raytune_agents.config import ConfigError, load_config
from raytune_agents.mirror import Mirror, local_folder
from raytune_agents.runs import Counts, Run
from raytune_agents.storage import read_json, write_json


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """host:port of an S3 server."""
    program = shutil.which("moto_server")
    if not program:
        pytest.skip("moto_server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [program, "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/")
            break
        except OSError:
            time.sleep(0.1)
    flaw = stores(f"127.0.0.1:{port}")
    if not flaw:
        yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(20)
    if flaw:
        pytest.skip(f"this moto_server stores no file: {flaw}")


def stores(host: str) -> str:
    """What keeps the server from storing a file; "" where nothing does."""
    keys = {"access_key": "test", "secret_key": "test", "scheme": "http"}
    system = fs.S3FileSystem(endpoint_override=host, allow_bucket_creation=True, **keys)
    try:
        system.create_dir("probe")
        with system.open_output_stream("probe/file") as sink:
            sink.write(b"1")
    except OSError as error:
        return str(error)
    return ""


@pytest.fixture(params=["s3", "folder"])
def store(request, tmp_path, monkeypatch) -> str:
    """A bucket's URL, and the same through a folder's; both through pyarrow."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    if request.param == "folder":
        return f"file://{tmp_path}/store"
    host = request.getfixturevalue("server")
    bucket = f"b{time.time_ns()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
    system, _ = fs.FileSystem.from_uri(f"s3://{bucket}?allow_bucket_creation=true")
    system.create_dir(bucket)
    try:
        with system.open_output_stream(f"{bucket}/probe") as sink:
            sink.write(b"1")
    except OSError as error:
        pytest.skip(f"this moto_server stores no file: {error}")
    return f"s3://{bucket}/runs"


def finished(run: Run, name: str, files: dict[str, str]) -> None:
    step = run.step(name, {"v": files})
    step.begin()
    for file, text in files.items():
        path = step.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    step.finish(Counts())


def other_machine(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine{time.time_ns()}"))


def test_another_machine_finds_what_was_finished(store, tmp_path, monkeypatch) -> None:
    config = load_config(None, [f"runs_dir={store}", "name=mine"])
    run = Run.of(config)
    finished(run, "read", {"rows-0.parquet": "rows", "ray/state": "own", "a/b.json": "{}"})
    (run.folder / "train" / "sft").mkdir(parents=True)
    (run.folder / "train" / "sft" / "half.bin").write_text("half")
    (run.folder / "report.html").write_text("page")
    finished(run, "label", {"rows-0.parquet": "more"})
    run.close()
    other_machine(monkeypatch, tmp_path)
    again = Run.of(config)
    assert again.folder != run.folder
    files = {p.relative_to(again.folder).as_posix() for p in again.folder.rglob("*") if p.is_file()}
    assert files == {
        "config.json", "run.lock", "report.html", "read/rows-0.parquet", "read/a/b.json",
        "read/started.json", "read/manifest.json", "label/rows-0.parquet", "label/manifest.json",
        "label/started.json",
    }  # fmt: skip
    assert (again.folder / "read" / "rows-0.parquet").read_text() == "rows"
    assert again.step("label", {"v": {"rows-0.parquet": "more"}}).done


def test_a_step_made_anew_replaces_the_old_one_everywhere(store, tmp_path, monkeypatch) -> None:
    config = load_config(None, [f"runs_dir={store}", "name=mine"])
    run = Run.of(config)
    finished(run, "read", {"old.parquet": "old", "rows.parquet": "1"})
    run.close()
    other_machine(monkeypatch, tmp_path)
    second = Run.of(config)
    finished(second, "read", {"rows.parquet": "22"})
    assert set(Mirror(second.folder, f"{store}/mine").there("read")) == {
        "read/rows.parquet", "read/manifest.json", "read/started.json"
    }  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    Run.of(config).close()
    assert not (run.folder / "read" / "old.parquet").exists()
    assert (run.folder / "read" / "rows.parquet").read_text() == "22"


def test_a_push_that_dies_leaves_no_manifest_over_other_files(store, monkeypatch) -> None:
    config = load_config(None, [f"runs_dir={store}", "name=mine"])
    run = Run.of(config)
    finished(run, "read", {"a.parquet": "1", "b.parquet": "1"})
    send, sent = Mirror.send, []

    def dies(self: Mirror, name: str) -> None:
        if len(sent) == 1:
            raise OSError("the line is cut")
        sent.append(name)
        send(self, name)

    monkeypatch.setattr(Mirror, "send", dies)
    with pytest.raises(OSError, match="the line is cut"):
        finished(run, "read", {"a.parquet": "2", "b.parquet": "2"})
    there = Mirror(run.folder, f"{store}/mine").there("read")
    assert "read/manifest.json" not in there
    assert "read/b.parquet" in there


def test_what_is_no_store_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be written"):
        Run.of(load_config(None, ["runs_dir=ftp://host/runs"]))


def test_local_folders_are_as_they_were(tmp_path) -> None:
    assert local_folder(str(tmp_path)) == tmp_path
    assert local_folder("s3://b/runs") != local_folder("s3://b/runs2")
    assert "secret" not in str(local_folder("s3://key:secret@b/runs"))
    write_json(tmp_path / "x.json", 1)
    assert read_json(tmp_path / "x.json") == 1
