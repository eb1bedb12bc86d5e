"""The files of cluster/, offline: schemas, what the cluster-size config needs of them, the rules of
a safe image, no secrets. What only a real cluster shows is listed in cluster/README.md."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from raytune_agents import config

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CLOUDS = ("aws", "gcp")
MANIFESTS = ("base", "raycluster", "rayjob", "raycronjob")
JOB = config.load_config(ROOT / "jobs/configs/cluster.yaml")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTER / "kuberay" / f"{name}.yaml").read_text()))


def cloud(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())


def pins(kind: str) -> dict[str, str]:
    lines = (ROOT / f"requirements-{kind}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


# --- ray up ---


def ray_schema() -> dict[str, Any]:
    """Ray's own schema of a cluster file; found without importing Ray."""
    package = Path(importlib.util.find_spec("ray").origin).parent
    return json.loads((package / "autoscaler" / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_up_file_fits_rays_schema(name: str):
    tree, schema = cloud(name), ray_schema()
    jsonschema.validate(tree, schema)
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate(tree | {"max_worker": 3}, schema)
    groups = tree["available_node_types"]
    assert tree["head_node_type"] in groups
    assert sum(g.get("min_workers", 0) for g in groups.values()) <= tree["max_workers"]
    assert sum(g.get("max_workers", 0) for g in groups.values()) == tree["max_workers"]


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_up_installs_no_second_ray(name: str):
    """Ray fills what is absent with defaults that install a Ray wheel of their own."""
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert cloud(name)[key] == []


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_up_is_closed(name: str):
    """Token on every node, the dashboard on loopback only, spot workers beside on-demand ones."""
    tree = cloud(name)
    assert "--env RAY_AUTH_MODE=token" in tree["docker"]["run_options"]
    assert tree["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    start = next(c for c in tree["head_start_ray_commands"] if "--head" in c)
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    spot = json.dumps(tree["available_node_types"]["gpu_spot"]["node_config"])
    plain = json.dumps(tree["available_node_types"]["gpu"]["node_config"])
    assert "spot" in spot.lower()
    assert "spot" not in plain.lower()


# --- KubeRay ---


def schema() -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / "kuberay" / "openapi.yaml").read_text())


def spec_of(name: str) -> dict[str, Any]:
    """The RayClusterSpec of a manifest."""
    spec = documents(name)[0]["spec"]
    spec = spec.get("jobTemplate", spec)
    return spec.get("rayClusterSpec", spec)


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """Every pod template in a manifest."""
    if isinstance(value, dict):
        if "containers" in value.get("spec", {}):
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_the_schema(name: str):
    check = jsonschema.Draft202012Validator(schema())
    for document in documents(name):
        assert [e.message for e in check.iter_errors(document)] == []
        assert document["metadata"].get("namespace", "raytune-agents") == "raytune-agents"


def test_schema_refuses_wrong_manifests():
    check = jsonschema.Draft202012Validator(schema())
    good = documents("rayjob")[0]
    for path, value in [
        (("spec", "entryPoint"), "python x.py"),
        (("spec", "ttlSecondsAfterFinished"), "600"),
        (("spec", "submissionMode"), "Kubernetes"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "password"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("apiVersion",), "ray.io/v1alpha1"),
    ]:
        bad = copy.deepcopy(good)
        inner = bad
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        assert not check.is_valid(bad), path


def test_three_manifests_one_cluster():
    assert spec_of("raycluster") == spec_of("rayjob") == spec_of("raycronjob")
    assert spec_of("raycluster")["rayVersion"] == pins("cpu")["ray"] == pins("gpu")["ray"]


@pytest.mark.parametrize("name", MANIFESTS[1:])
def test_pods_are_restricted(name: str):
    """Kubernetes' restricted profile, limits equal to requests or above, no token in plain text."""
    found = list(pods(documents(name)[0]))
    assert len(found) == (4 if name == "raycluster" else 5)
    for pod in found:
        assert pod["metadata"]["labels"] == {"app.kubernetes.io/part-of": "raytune-agents"}
        outer = pod["spec"]["securityContext"]
        assert outer["runAsNonRoot"]
        assert outer["runAsUser"] > 0
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            inner = container["securityContext"]
            assert inner == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
            assert (
                container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
            )
            for variable in container.get("env", []):
                assert ("TOKEN" in variable["name"]) == ("valueFrom" in variable)


def test_kuberay_is_closed():
    spec = spec_of("raycluster")
    assert spec["authOptions"] == {"mode": "token", "secretName": "raytune-agents-token"}
    policies = {
        d["metadata"]["name"]: d["spec"] for d in documents("base") if "Policy" in d["kind"]
    }
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ours = policies["raytune-agents"]
    assert all(rule["from"] for rule in ours["ingress"])  # a rule without peers admits everybody
    assert all(rule["to"] for rule in ours["egress"])
    blocks = [p["ipBlock"] for rule in ours["egress"] for p in rule["to"] if "ipBlock" in p]
    assert [b["except"] for b in blocks] == [["169.254.0.0/16"]]


def test_shared_volume_holds_models_and_runs():
    claim = next(d for d in documents("base") if d["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    groups = [spec_of("raycluster")["headGroupSpec"], *spec_of("raycluster")["workerGroupSpecs"]]
    for group in groups:
        spec = group["template"]["spec"]
        volumes = {v["name"]: v for v in spec["volumes"]}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        container = spec["containers"][0]
        mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        assert JOB.runs_dir.startswith(mounts["shared"] + "/")
        env = {e["name"]: e.get("value", "") for e in container["env"]}
        assert env["HF_HOME"].startswith(mounts["shared"] + "/")
        assert env["XDG_CACHE_HOME"].startswith(mounts["shared"] + "/")
    for name in CLOUDS:
        assert "--volume /mnt/shared:/mnt/shared" in cloud(name)["docker"]["run_options"]


# --- the config of cluster size fits every cluster ---


def sizes(where: str) -> list[tuple[int, int, int, int]]:
    """(fewest nodes, most nodes, CPUs, GPUs) of every worker group."""
    if where in CLOUDS:
        return [
            (
                g["min_workers"],
                g["max_workers"],
                g["resources"]["CPU"],
                g["resources"].get("GPU", 0),
            )
            for g in cloud(where)["available_node_types"].values()
            if "max_workers" in g
        ]
    if where == "slurm":
        text = (CLUSTER / "slurm.sbatch").read_text()
        nodes, cpus, gpus = (
            int(re.search(rf"^#SBATCH --{o}=(\d+)", text, re.MULTILINE).group(1))
            for o in ("nodes", "cpus-per-task", "gpus-per-task")
        )
        return [(nodes, nodes, cpus, gpus)]
    out = []
    for g in spec_of("raycluster")["workerGroupSpecs"]:
        have = g["template"]["spec"]["containers"][0]["resources"]["limits"]
        gpus = int(have.get("nvidia.com/gpu", 0))
        out.append((g["minReplicas"], g["maxReplicas"], int(have["cpu"]), gpus))
    return out


@pytest.mark.parametrize("where", [*CLOUDS, "kuberay", "slurm"])
def test_cluster_config_fits(where: str):
    """The engine keeps one GPU while `train.num_workers` train; a trial's CPUs are the cluster's
    over `tune.max_concurrent_trials` and must be found on one GPU node, also when every group is
    full."""
    groups = sizes(where)
    assert sum(least * gpus for least, _, _, gpus in groups) >= JOB.train.num_workers + 1
    most_cpus = sum(most * cpus for _, most, cpus, _ in groups)
    smallest = min(cpus for _, _, cpus, gpus in groups if gpus)
    assert max(1, most_cpus // JOB.tune.max_concurrent_trials) <= smallest


def labelled_groups(where: str) -> list[tuple[dict[str, str], int, int]]:
    """(labels of its Ray nodes, fewest nodes, GPUs of one) of every group with GPUs."""
    if where in CLOUDS:
        groups = cloud(where)["available_node_types"].values()
        found = [(g.get("labels", {}), g.get("min_workers", 0), g["resources"].get("GPU", 0))
                 for g in groups]  # fmt: skip
    else:
        found = [
            (g.get("labels", {}), g["minReplicas"],
             int(g["template"]["spec"]["containers"][0]["resources"]["limits"]
                 .get("nvidia.com/gpu", 0)))
            for g in spec_of("raycluster")["workerGroupSpecs"]
        ]  # fmt: skip
    return [group for group in found if group[2]]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Ray's rule for the two forms that the config uses, VALUE and !VALUE."""
    return all(
        labels.get(key) != value[1:] if value.startswith("!") else labels.get(key) == value
        for key, value in selector.items()
    )


@pytest.mark.parametrize("where", [*CLOUDS, "kuberay"])
def test_engines_are_placed_on_demand_and_workers_on_spot(where: str):
    groups = labelled_groups(where)
    markets = {labels["ray.io/market-type"] for labels, *_ in groups}
    assert markets == {"on-demand", "spot"}
    for selector, market, least in [
        (JOB.engine.label_selector, "on-demand", JOB.engine.actors),
        (JOB.train.label_selector, "spot", JOB.train.num_workers),
    ]:
        fits = [group for group in groups if selects(selector, group[0])]
        assert {labels["ray.io/market-type"] for labels, *_ in fits} == {market}
        assert sum(nodes * gpus for _, nodes, gpus in fits) >= least
    assert selects(JOB.engine.label_selector, {})  # Slurm's nodes have no such label
    assert selects(JOB.train.label_selector, {})
    assert JOB.resources.gpus == sum(nodes * gpus for _, nodes, gpus in groups)


def test_gpu_lock_has_what_training_on_gpus_may_ask_for():
    lock = pins("gpu")
    assert {"deepspeed", "bitsandbytes"} <= set(lock)
    assert {"hjson", "einops", "msgpack", "ninja", "py-cpuinfo"} <= set(lock)  # what it imports


# --- the image ---


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments gone."""
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def test_image_follows_the_rules():
    """hadolint's DL3002, DL3006, DL3007, DL3008 (cleaning), DL3009, DL3013, DL3020, DL4006."""
    steps = instructions()
    base = next(rest for word, rest in steps if word == "ARG").partition("=")[2]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    stages = {rest.split(" AS ")[1] for word, rest in steps if word == "FROM"}
    for word, rest in steps:
        assert word != "ADD"
        if word == "FROM":
            assert rest.split()[0] in stages | {"${BASE}"}
        if word == "RUN":
            assert not re.search(r"(curl|wget)[^|]*\|\s*(ba)?sh", rest)
            assert "sudo" not in rest
            if "apt-get install" in rest:
                assert "--no-install-recommends" in rest
                assert rest.index("apt-get update") < rest.index("rm -rf /var/lib/apt/lists/*")
            if "pip install" in rest and " -r " not in rest and " -e " not in rest:
                names = re.findall(r'"([^"]+)"', rest)
                assert names
                assert all("==" in name for name in names)
        if word in ("ARG", "ENV"):
            assert not re.search(r"TOKEN\b|SECRET|PASSWORD", rest)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_target_ends_as_another_user(target: str):
    steps = instructions()
    start = next(i for i, (w, r) in enumerate(steps) if w == "FROM" and r.endswith(f" AS {target}"))
    stage = []
    for word, rest in steps[start + 1 :]:
        if word == "FROM":
            break
        stage.append((word, rest))
    assert [rest for word, rest in stage if word == "USER"] == ["1000:1000"]
    assert ("COPY", f"--from=build-{target} /opt/venv /opt/venv") in stage


def test_image_installs_as_the_makefile_does():
    """The same torch, the locks without dependencies, the package without dependencies."""
    runs = [rest for word, rest in instructions() if word == "RUN"]
    made = (ROOT / "Makefile").read_text()
    cpu, gpu = (re.search(rf'"(torch=={v})"', made).group(1) for v in (r"[\d.]+\+cpu", r"[\d.]+"))
    assert (
        sum(
            f'--no-deps --index-url https://download.pytorch.org/whl/cpu "{cpu}"' in r for r in runs
        )
        == 1
    )
    assert sum(f'pip install "{gpu}"' in r for r in runs) == 1
    for kind in ("cpu", "gpu"):
        assert f"pip install --no-deps -r requirements-{kind}.txt" in runs
    assert runs.count("pip install --no-deps --no-build-isolation -e .") == 2


def test_only_named_files_enter_the_image():
    rules = [
        line
        for line in (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert rules[0] == "*"
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {"raytune_agents", "jobs", "pyproject.toml"} <= named
    assert not named & {"runs", ".git", ".venv", "shared", "tests"}


# --- the rest ---


def test_runtime_env():
    tree = yaml.safe_load((CLUSTER / "runtime_env.yaml").read_text())
    assert tree.keys() == {"excludes", "env_vars", "config"}
    assert all(isinstance(v, str) for v in tree["env_vars"].values())
    assert {".git/", ".venv/", "runs/"} <= set(tree["excludes"])
    assert tree["config"].keys() <= {"setup_timeout_seconds", "eager_install", "log_files"}


def test_slurm_script_parses_and_passes_failure_on():
    path = CLUSTER / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", path], timeout=10).returncode == 0
    lines = path.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert (
        lines[-1].strip()
        == 'python jobs/run.py --config "$config" "resources.nodes=${#nodes[@]}" "$@"'
    )  # its status is the job's; whoever starts it may write another number
    assert "export SRUN_CPUS_PER_TASK=$cpus" in path.read_text()
    assert "RAY_AUTH_MODE=token" in path.read_text()
    assert "--dashboard-host=127.0.0.1" in path.read_text()


SECRET = re.compile(
    r"hf_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}|-----BEGIN|sk-[A-Za-z0-9_-]{20,}|ghp_\w{20,}"
    r"|AIza[\w-]{30,}|(?i:password|auth_token|token):\s*['\"]?[A-Za-z0-9+/_-]{16,}"
)


def test_no_secrets():
    files = [p for folder in (CLUSTER, ROOT / "jobs") for p in folder.rglob("*") if p.is_file()]
    text = {p: p.read_text() for p in files if p.suffix not in (".pyc",)}
    assert len(text) > 15
    assert {p.name: SECRET.findall(t) for p, t in text.items() if SECRET.search(t)} == {}
    assert "kind: Secret" not in "\n".join(text.values())
    assert SECRET.search("HF_TOKEN: hf_" + "a" * 34)


def test_readme_names_every_file():
    text = (CLUSTER / "README.md").read_text()
    for path in CLUSTER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert path.name in text, path
