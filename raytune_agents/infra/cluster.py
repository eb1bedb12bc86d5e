"""Ray on a laptop, on one GPU, or inside a job: one `connect`, and what it reports."""

from __future__ import annotations

import glob
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError, ResourcesConfig
from raytune_agents.infra.logs import quiet_peft
from raytune_agents.infra.placement import Resources
from raytune_agents.records import JsonObject, Options

log = logging.getLogger(__name__)
QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # datasets' function hashing prints through Train's patch
    # Also how often Train polls reports: a checkpoint counts from then on.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "PYTHONWARNINGS": "ignore",
    "RAY_TRAIN_V2_ENABLED": "1",
    # A thread of torch's OpenMP that waits for the other one spins, 300,000 rounds if not told
    # otherwise: beside other busy programs it then takes the core that the other one waits for.
    "GOMP_SPINCOUNT": "10000",
}


BLOCK_BYTES = 1 << 24
DATA = {  # of Ray Data's context, while we are connected
    # Blocks are small: Ray Data sets space for two of them per task aside in the object store, and
    # a laptop's has no room for many of 128 MiB.
    "target_max_block_size": BLOCK_BYTES,
    "shuffle_input_batch_bytes": 2 * BLOCK_BYTES,  # else one task takes 1 GiB of rows at once
    "enable_progress_bars": False,  # our display speaks for it
    "print_on_execution_start": False,
}
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's switch, on every system
# variables of the driver that every worker must see
PASSED_ON = ("RAYTUNE_AGENTS_SANDBOX", "LM_EVAL_PYTHON")
POLL_S, REPORT_S = 1.0, 30.0  # while nodes join: between two looks, and between two words
_data_before: dict[str, Any] = {}  # what DATA stands in place of
_started: list[str] = []  # the addresses of what `connect` started and `disconnect` may end


def set_environment(config: ResourcesConfig) -> None:
    """The variables that Ray reads when it is loaded: a run sets them before its checks load it."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if address_of(config) == "local":
        # A signal to the whole group (`timeout`, a closed terminal) ends Ray's head with us: we do
        # not look for it for a minute.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "10")


def connect(config: ResourcesConfig, keep: bool = False) -> Resources:
    """Start a local Ray, or join the job's cluster, and say what there is. A Ray that is there
    already, or is started to `keep`, stays when `disconnect` is called."""
    set_environment(config)
    quiet_peft()
    address = address_of(config)
    ray = loaded_ray(loopback=address == "local")
    if not ray.is_initialized():
        options: Options = {"address": address, "log_to_driver": False, "logging_level": "error"}
        # A local Ray's workers inherit the environment; those of other nodes do not.
        passed = PASSED_ON if address != "local" else ()
        variables = {name: os.environ[name] for name in passed if name in os.environ}
        if config.gpus == 0:  # Ray hides GPUs from nobody who asks for none (QUIET)
            variables["CUDA_VISIBLE_DEVICES"] = ""
        if variables:
            options["runtime_env"] = {"env_vars": variables}
        if address == "local":
            keep_token_private()
            options |= {
                "num_cpus": config.cpus or os.cpu_count(),
                "include_dashboard": False,
                # Ray would take 30 % of the memory, which the engine and the training need.
                "object_store_memory": config.object_store_mib * 2**20,
            }
        ours = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises bare ones, too
            raise not_started(error, address) from error
        _started[:] = [] if keep else [address]
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # Ray's own would end the process with its words
    quiet_data()
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Resources.of(nodes, most=config.gpus)


def not_started(error: Exception, address: str) -> ConfigError:
    """What to look at where Ray does not start, or is not where it should be."""
    why = next(iter(str(error).splitlines()), "") or type(error).__name__
    if address == "local":
        return ConfigError(
            f"Ray did not start on this machine ({why}); is it too busy, or its disk full? Type "
            "the same again, or write resources.address of a Ray that runs"
        )
    return ConfigError(
        f"resources.address={address!r}: no Ray answers there ({why}); write the address of its "
        "head, for example 10.0.0.1:6379, or start it"
    )


def await_resources(config: ResourcesConfig, say: Callable[[str], None] = log.info) -> Resources:
    """What there is and nobody uses, as soon as it is what the config expects; until then the
    autoscaler is asked for it. Raises ConfigError after `wait_s`, and at once where Ray is local
    and has no GPU in use: none joins it."""
    from ray.autoscaler.sdk import request_resources

    began, spoke, have = time.monotonic(), -REPORT_S, free_resources(config.gpus)
    local, wait_s = address_of(config) == "local", config.wait_s
    try:
        while lacking := have.lacks(config):
            waited = time.monotonic() - began
            if waited >= wait_s or (local and not have.busy_gpus):
                raise ConfigError(
                    f"{lacking} after {waited:.0f} s; write what there is, or start more; "
                    "resources.wait_s is how long a cluster may take"
                )
            if waited - spoke >= REPORT_S:
                spoke = waited
                say(f"waiting for resources: {lacking} ({waited:.0f} of {wait_s:.0f} s)")
                gpus = [{"GPU": 1}] * (config.gpus or have.busy_gpus)
                request_resources(bundles=gpus + [{"CPU": have.node_cpus}] * (config.nodes or 0))
            time.sleep(POLL_S)
            have = free_resources(config.gpus)
    finally:
        if spoke >= 0:  # what was asked for would stay up for ever, also after a run that is killed
            request_resources(bundles=[])
    return have


def free_resources(most: int | None = None) -> Resources:
    """What there is now, without the GPUs that are in use; `most`: as in `Resources.of`."""
    import ray
    from ray._private.state import available_resources_per_node

    def free() -> list[float]:
        now = available_resources_per_node()
        return [now.get(node["NodeID"], {}).get("GPU", 0) for node in nodes]

    nodes = [node for node in ray.nodes() if node["Alive"]]
    resources, left = [node["Resources"] for node in nodes], free()
    if sum(left) < sum(node.get("GPU", 0) for node in resources):
        time.sleep(2 * POLL_S)  # what has just ended counts as used for about a second
        left = free()
    return Resources.of(resources, left, most)


def address_of(config: ResourcesConfig) -> str:
    """The address of the Ray that a run joins; "local": it starts one of its own."""
    return config.address or os.environ.get("RAY_ADDRESS") or "local"


def loaded_ray(loopback: bool) -> Any:
    """The module ray. `loopback`: a Ray that it starts listens on 127.0.0.1 only. (Ray's switch for
    that is read when it is loaded; what was loaded before is switched by hand.)"""
    running = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    if not running:
        os.environ[LOOPBACK] = "0" if loopback else "1"
    import ray
    from ray._private import ray_constants

    if not running:
        ray_constants.ENABLE_RAY_CLUSTER = not loopback
    return ray


def keep_token_private() -> None:
    """Ray writes the token of a local cluster where every user of the machine may read it: it is
    made here first, for this user alone."""
    path = Path.home() / ".ray" / "auth_token"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        path.chmod(0o600)
    except OSError as error:
        log.warning("%s cannot be made private: %s", path, error)


def local_machine(config: ResourcesConfig) -> Resources | None:
    """What a local Ray will have, without starting it; None where a cluster is joined."""
    if address_of(config) != "local":
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = len(glob.glob("/dev/nvidia[0-9]*"))
    gpus = found if visible is None else min(found, len([x for x in visible.split(",") if x]))
    machine = {"CPU": float(config.cpus or os.cpu_count() or 1), "GPU": float(gpus)}
    return Resources.of([machine], most=config.gpus)


def look(config: ResourcesConfig) -> Resources:
    """What a run would find: the cluster that it would join, else this machine, which needs no
    Ray to be looked at unless it has GPUs."""
    if (have := local_machine(config)) and not have.gpus:
        return have
    try:
        return connect(config)
    finally:
        disconnect()


def wait_for_gpus(count: int, share: float, timeout_s: float = 120.0) -> None:
    """Wait until `share` of the memory of `count` GPUs is free, as it must be once the engines have
    stopped. Raises ConfigError where it, or a GPU itself, is still held after `timeout_s`."""
    import ray

    @ray.remote(num_gpus=1, num_cpus=0)
    def free(until: float) -> float:
        import torch

        while True:
            left, whole = torch.cuda.mem_get_info()
            if left >= share * whole or time.time() > until:
                return left / whole
            time.sleep(0.5)

    until = time.time() + timeout_s
    # As many tasks as GPUs, each holding one: so every GPU is looked at.
    asked = [free.remote(until) for _ in range(count)]
    try:
        found = min(ray.get(asked, timeout=timeout_s + 60))
    except ray.exceptions.GetTimeoutError:
        raise ConfigError(
            f"fewer than {count} GPUs are free after the engines stopped: another job has taken "
            "one; wait for its end, or write resources.gpus, and run the same command again"
        ) from None
    if found < share:
        raise ConfigError(
            f"a GPU has {found:.0%} of its memory free after the engines stopped, not {share:.0%}; "
            "see nvidia-smi for who holds it, and run the same command again"
        )


def quiet_data() -> None:
    """Our settings of Ray Data, and no word of it, Train and Tune but errors."""
    from ray.data import DataContext

    context = DataContext.get_current()
    for name, value in DATA.items():
        _data_before.setdefault(name, getattr(context, name))
        setattr(context, name, value)
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


def in_order(rows: Any, name: str) -> Any:
    """The data set under this name, its blocks in the order in which they were read. (Its own
    context says so: in the global one the order would hold up the shards of later steps.)"""
    rows.context.execution_options.preserve_order = True
    rows.set_name(name)
    return rows


def map_items(
    name: str, items: Sequence[JsonObject], work: Callable[..., JsonObject], *shared: Any
) -> Iterator[JsonObject]:
    """`work(item, *shared)` of every item, in their order, by Ray's workers; here where there is
    one item: that is sooner done than a worker is started."""
    if len(items) < 2:
        yield from (work(item, *shared) for item in items)
        return
    import ray

    def each(batch: dict[str, Any], stored: list[Any]) -> dict[str, list[str]]:
        values = ray.get(stored)
        return {"done": [json.dumps(work(json.loads(text), *values)) for text in batch["item"]]}

    rows = [{"item": json.dumps(item)} for item in items]
    data = in_order(ray.data.from_items(rows, override_num_blocks=len(rows)), name)
    # In a list they stay references: Ray would unpack bare ones for every task.
    stored = {"stored": [ray.put(value) for value in shared]}
    for row in data.map_batches(each, batch_size=1, fn_kwargs=stored).iter_rows():
        yield json.loads(row["done"])


def run_task(work: Callable[..., Any], arguments: Sequence[Any], cpus: int, gpus: int = 0) -> Any:
    """What `work(*given)` returns or raises, as a task that has so many CPUs and GPUs."""
    import ray

    task = ray.remote(work).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)
    try:
        return ray.get(task.remote(*arguments))
    except ray.exceptions.RayTaskError as error:
        # The cause itself: callers catch our errors, and Ray's frames tell a user nothing.
        raise error.cause from None


def waiting_demand() -> str:
    """What Ray is asked for and has no room for now; "" where nothing waits."""
    import ray
    from ray.autoscaler.v2.sdk import get_cluster_status

    if not ray.is_initialized():
        return ""
    address = ray.get_runtime_context().gcs_address
    demands = get_cluster_status(address).resource_demands
    counts: Counter[str] = Counter()
    for demand in (*demands.ray_task_actor_demand, *demands.placement_group_demand):
        for one in demand.bundles_by_count:
            counts[", ".join(f"{n:g} {k}" for k, n in sorted(one.bundle.items()))] += one.count
    return "; ".join(f"{count} x ({bundle})" for bundle, count in sorted(counts.items()))


def head_is_gone(wait_s: float = 1.0) -> bool:
    """Whether the Ray that `connect` started has ended, or does so within the time. A signal to
    the whole group ends its processes, too; asked then, Ray would end ours in its own words."""
    import ray

    if not _started or _started[0] != "local" or not ray.is_initialized():
        return False
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    stop = time.monotonic() + wait_s
    while time.monotonic() < stop:
        try:
            socket.create_connection((host, int(port)), wait_s).close()
        except OSError:
            return True
        time.sleep(POLL_S / 10)
    return False


def disconnect() -> None:
    """End or leave the Ray that `connect` started or joined, and no other."""
    import ray
    from ray.data import DataContext

    while _data_before:
        setattr(DataContext.get_current(), *_data_before.popitem())
    if _started:
        _started.clear()
        ray.shutdown()
