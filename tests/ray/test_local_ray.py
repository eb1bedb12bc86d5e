"""A local Ray is this user's alone: it listens on loopback, its token is readable by nobody else,
and one that was there before is left running."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

CODE = """
import os, psutil, ray, sys
from raytune_agents.config import ResourcesConfig
from raytune_agents.infra import cluster
section = ResourcesConfig(cpus=1, object_store_mib=80)
cluster.connect(section.model_copy(update={"gpus": 0}))
look = ray.remote(lambda: os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
own = look.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})  # as an engine has
print(repr(ray.get([look.remote(), own.remote()])))
me = psutil.Process()
ports = [c.laddr.ip for p in (me, *me.children(recursive=True))
         for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
print(len(ports), sorted({ip.removeprefix("::ffff:") for ip in ports}))
cluster.disconnect()
print(ray.is_initialized())
cluster.connect(section, keep=True)
cluster.connect(section)
cluster.disconnect()
print(ray.is_initialized())
"""


def test_a_local_ray_is_private_and_stays_where_it_is_kept(tmp_path: Path) -> None:
    env = os.environ | {"HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    env.pop("RAY_ADDRESS", None)
    old = os.umask(0o022)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE], env=env, capture_output=True, text=True, timeout=300
        )
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    seen, listening, ended, kept = done.stdout.splitlines()
    assert seen == "['', '']"  # resources.gpus=0: nobody sees a GPU
    count, _, where = listening.partition(" ")
    assert int(count) >= 5
    assert where == "['127.0.0.1']"
    assert (ended, kept) == ("False", "True")
    token = tmp_path / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
