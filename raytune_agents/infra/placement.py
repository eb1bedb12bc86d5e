"""`resources: auto`: from what Ray reports and the config to what runs where; values only, no Ray.

An engine takes `tensor_parallel_size` GPUs of one node, a training worker and a trial one each.
Where engines and training do not fit beside each other they take turns: the engines stop before
training and start again after it. Without a GPU there is one engine and one worker, and each has
all CPUs of its node in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raytune_agents.config import Config, ConfigError, EngineConfig, ResourcesConfig, TrainConfig
from raytune_agents.records import Options
from raytune_agents.storage import yaml_beside

GPUS = yaml_beside(__file__, "gpus.yaml")
GPU_GIB: dict[str, float] = {kind: about["gib"] for kind, about in GPUS.items()}
ROOM_GIB = 2.0  # of the engine's share, for KV cache and activations beside the weights
TRIAL_CPUS = 4  # below this a trial is slower than two one after the other


@dataclass(frozen=True)
class Resources:
    """What Ray reports. `gpus`: those that this run can have; `node_gpus`: the most of them on one
    node; `node_cpus`: of the largest node that has GPUs (CPUs where none has)."""

    cpus: int
    gpus: int
    node_cpus: int
    node_gpus: int = 0
    gpu_type: str = ""
    nodes: int = 1
    busy_gpus: int = 0  # in use by others
    free_gpus: tuple[int, ...] = ()  # of each node

    @classmethod
    def of(
        cls, nodes: list[Options], free: Sequence[float] | None = None, most: int | None = None
    ) -> Resources:
        """From the resources of every living node, as `ray.nodes()` has them, how many of each
        one's GPUs are `free` (None: all), and how many the run takes at `most`
        (resources.gpus)."""
        large = max(nodes, key=lambda n: (n.get("GPU", 0), n.get("CPU", 0)), default={})
        total = int(sum(n.get("GPU", 0) for n in nodes))
        by_node = tuple(int(n) for n in (free or [n.get("GPU", 0) for n in nodes]))
        gpus = min(sum(by_node), total if most is None else most)
        kinds = sorted(k.partition(":")[2] for n in nodes for k in n if k.startswith("accelerator"))
        return cls(
            cpus=max(1, int(sum(n.get("CPU", 0) for n in nodes))),
            gpus=gpus,
            node_cpus=max(1, int(large.get("CPU", 1))),
            node_gpus=min(gpus, max(by_node, default=0)),
            # Of mixed GPUs the smallest: a worker may land on any.
            gpu_type=min(kinds, key=lambda k: GPU_GIB.get(k, 0), default=""),
            nodes=max(1, len(nodes)),
            busy_gpus=total - sum(by_node),
            free_gpus=by_node,
        )

    def engines(self, wide: int) -> int:
        """How many engines of so many GPUs there is room for: each has all of its own on one
        node."""
        by_node = self.free_gpus or (self.gpus,)
        return min(sum(free // wide for free in by_node), self.gpus // wide)

    def lacks(self, config: ResourcesConfig) -> str:
        """What the config expects and Ray does not have; "" where all is there. Where all GPUs are
        busy, one must become free: a run never goes on without it, on CPUs."""
        busy = f" free, {self.busy_gpus} in use" if self.busy_gpus else ""
        wanted = {"gpus": config.gpus, "nodes": config.nodes}
        if config.gpus is None and self.busy_gpus and not self.gpus:
            wanted["gpus"] = 1
        return ", ".join(
            f"resources.{key}={count}: Ray has {getattr(self, key)}{busy * (key == 'gpus')}"
            for key, count in wanted.items()
            if count and getattr(self, key) < count
        )


@dataclass(frozen=True)
class Placement:
    """What runs where. `gpu_gib` None: no GPU, or one of a type that we do not know."""

    have: Resources
    engines: int
    tensor_parallel_size: int
    train_workers: int
    trials: int
    take_turns: bool  # engines and training on the same GPUs, one after the other
    gpu_gib: float | None

    def threads(self, workers: int) -> int:
        """Cores of each of so many training workers."""
        spread = self.have.node_gpus or -(-workers // self.have.nodes)
        return max(1, self.have.node_cpus // max(1, min(workers, spread)))

    @property
    def trial_cpus(self) -> int:
        """CPUs that a trial asks for; one node must have them."""
        return max(1, min(self.have.node_cpus, self.have.cpus // self.trials))

    def train(self, config: TrainConfig) -> TrainConfig:
        """The options of one arm with its workers. Raises ConfigError."""
        count = workers(self.have.gpus, config)
        least = config.span[0] if config.num_workers else count
        self.check(least, "train.num_workers")
        if config.num_workers:
            return config
        copies = count > 1 and config.sharding == "none"
        own = {"num_workers": count, "sharding": "ddp" if copies else config.sharding}
        return config.model_copy(update=own)

    def turns(self, workers: int) -> bool:
        """Whether so many workers do not fit beside the engines."""
        return 0 < self.have.gpus < self.engines * self.tensor_parallel_size + workers

    def check(self, workers: int, key: str) -> None:
        """Raises ConfigError where so many workers cannot be had, beside the engines or in turns
        with them."""
        most = self.have.gpus or self.have.cpus
        if workers > most:
            kind = "GPUs" if self.have.gpus else "CPUs"
            raise ConfigError(f"{key}={workers}: Ray has {most} {kind}; write {most} or fewer")

    def engine(self, config: EngineConfig) -> EngineConfig:
        """The options of the engines with their number and width."""
        own = {"actors": self.engines, "tensor_parallel_size": self.tensor_parallel_size}
        return config.model_copy(update=own)

    def lines(self) -> list[str]:
        """What a terminal shows."""
        have, gpus = self.have, self.have.gpus
        size = f", {self.gpu_gib:g} GiB each" if self.gpu_gib else ""
        kind = f" {have.gpu_type}" if have.gpu_type else ""
        each = have.node_cpus // self.engines
        on = f"{self.tensor_parallel_size} GPU" if gpus else f"{each} CPUs"
        return [
            f"nodes {have.nodes}, CPUs {have.cpus}, GPUs {gpus}{kind}{size}",
            f"engines {self.engines} (each on {on}), train workers {self.train_workers}, "
            f"trials at once {self.trials}",
            *(["engines and training take turns on the GPUs"] if self.take_turns else []),
        ]


def workers(gpus: int, config: TrainConfig) -> int:
    """`train.num_workers` at most, or as many, one per GPU, as share a step's rows evenly."""
    if config.num_workers:
        return config.span[1]
    # A worker without its share of a step would wait for the others in every step.
    return max(n for n in range(1, max(1, gpus) + 1) if config.rows_per_step() % n == 0)


def engine_gpus(have: Resources, weights_gib: float, room_gib: float | None) -> int:
    """GPUs of one engine: the smallest power of two whose share holds the weights. Raises
    ConfigError where one node has not so many."""
    if not have.gpus or not room_gib:
        return 1
    count = 1
    while weights_gib / count + ROOM_GIB > room_gib:
        # Powers of two, as attention heads must divide by it.
        count *= 2
        if count > have.node_gpus:
            raise ConfigError(
                f"model.name: weights of {weights_gib:.1f} GiB do not fit {have.node_gpus} GPUs "
                f"with {room_gib:.1f} GiB for the engine; write a smaller one or resources.gpu_gib"
            )
    return count


def shards_under_way(engines: int, slots: int, rows: int) -> int:
    """Shards of `rows` requests each that engines with `slots` each are asked at a time: so many
    that eight requests wait or are answered per slot, since the last answers of a shard are long
    and leave slots to others; at least two per engine."""
    return max(2 * engines, -(-8 * engines * slots // rows))


def plan_placement(have: Resources, config: Config, weights_gib: float) -> Placement:
    """The placement of a run; `weights_gib`: the size of the model's files. Options that are not
    "auto" stay as they are. Raises ConfigError where they cannot be had."""
    options, gpus = config.resources, have.gpus
    if lacking := have.lacks(options):
        raise ConfigError(f"{lacking}; write what there is, or start more")
    gib = (options.gpu_gib or GPU_GIB.get(have.gpu_type)) if gpus else None
    room = gib * config.engine.gpu_memory_utilization if gib else None
    wide = config.engine.tensor_parallel_size or engine_gpus(have, weights_gib, room)
    engines = config.engine.actors or max(1, have.engines(wide))
    if gpus and engines > have.engines(wide):
        raise ConfigError(
            f"engine.actors={engines} of tensor_parallel_size={wide}: Ray has {gpus} GPUs, at most "
            f"{have.node_gpus} a node; write auto"
        )
    if not gpus and engines > have.cpus:
        raise ConfigError(f"engine.actors={engines}: Ray has {have.cpus} CPUs; write auto")
    if not gpus and wide > 1:
        raise ConfigError(f"engine.tensor_parallel_size={wide}: Ray has no GPU; write auto")
    count = max(workers(gpus, config.train.of(a)) for a in config.train.arms.values())
    # On CPUs all share the cores, so nothing has to stop.
    turns = bool(gpus) and engines * wide + count > gpus
    free = gpus if turns else gpus - engines * wide
    trials = config.tune.max_concurrent_trials or max(1, free if gpus else have.cpus // TRIAL_CPUS)
    # Without a search there is still one, so that nothing is divided by 0.
    trials = min(trials, config.tune.num_samples) or 1
    return Placement(have, engines, wide, count, trials, turns, gib)
