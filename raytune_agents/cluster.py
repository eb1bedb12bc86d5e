"""Ray on a laptop, on one GPU, or inside a job: one `connect`, and what each step may use."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from raytune_agents.config import ConfigError, ResourcesSection

QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # datasets' function hashing prints through Train's patch
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
}


@dataclass(frozen=True)
class Resources:
    """What Ray reports, and what follows for the steps."""

    cpus: int
    gpus: int

    def train_workers(self, wanted: int, key: str = "train.workers") -> int:
        """Workers of a TorchTrainer. Raises ConfigError where there are not so many."""
        have = self.gpus or self.cpus
        if wanted > have:
            kind = "GPUs" if self.gpus else "CPUs"
            raise ConfigError(f"{key}={wanted}: Ray has {have} {kind}; write {have} or fewer")
        return wanted


def connect(section: ResourcesSection) -> Resources:
    """Start a local Ray, or join the job's cluster, and say what there is."""
    import ray

    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    if not ray.is_initialized():
        address = section.address or os.environ.get("RAY_ADDRESS") or "local"
        options: dict[str, Any] = {
            "address": address,
            "log_to_driver": False,
            "logging_level": "error",
        }
        if address == "local":
            options |= {
                "num_cpus": section.cpus or os.cpu_count(),
                "include_dashboard": False,
                "object_store_memory": section.object_store_mib * 2**20,
            }
        ray.init(**options)
    quiet_data()
    have = ray.cluster_resources()
    return Resources(cpus=max(1, int(have.get("CPU", 1))), gpus=int(have.get("GPU", 0)))


def quiet_data() -> None:
    """Our progress display speaks for Ray Data."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


def disconnect() -> None:
    import ray

    ray.shutdown()
