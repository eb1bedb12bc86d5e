"""What the steps of one run share: config, run folder, display, Ray, model, engines."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from raytune_agents import models, sandbox
from raytune_agents.chat import Chat
from raytune_agents.config import Config, ConfigError
from raytune_agents.config.lookup import user_object
from raytune_agents.generate import rewrite
from raytune_agents.inference import client, endpoint, engine, serve
from raytune_agents.inference.options import lora_options
from raytune_agents.infra import cluster
from raytune_agents.infra.logs import driver_log
from raytune_agents.infra.nodes import validate_nodes
from raytune_agents.infra.placement import Placement, Resources, plan_placement
from raytune_agents.pipeline import keys
from raytune_agents.progress import Display
from raytune_agents.runs import Run, Step
from raytune_agents.storage import write_json

if TYPE_CHECKING:
    from raytune_agents.train.tokenized import Tokenized


@dataclass
class Context:
    """What the steps share: the config, the run folder, the display; Ray and the engine on
    demand."""

    config: Config
    display: Display
    run: Run = field(init=False)
    engine: Any = None  # the actors end when the last handle goes
    nodes: frozenset[str] = frozenset()  # that can work for this run
    slots: int = 0  # requests that one engine answers at a time
    teacher: Any = None
    streams: list[Any] = field(default_factory=list)  # iterators of data sets under way
    ending: ExitStack = field(default_factory=ExitStack)
    # columns/KEY -> its facts, as long as a step holds them
    tokenized: WeakValueDictionary[Path, Tokenized] = field(default_factory=WeakValueDictionary)

    def __post_init__(self) -> None:
        sandbox.set_mode(self.config.sandbox)
        self.run = Run.of(self.config)
        say = partial(self.display.say, style="yellow")
        self.ending.enter_context(driver_log(self.run.folder / "run.log", say))

    def settle(self, config: Config) -> None:
        """Go on with this config, in which what was auto is a number; the folder keeps it."""
        self.config = config
        write_json(self.run.folder / "config.json", config.model_dump(mode="json"))

    def step(self, name: str) -> Step:
        """A step of this run as it stands: its sections, inputs and the files that it reads. Raises
        FileNotFoundError where a step before it has not been run."""
        config = self.config
        files = keys.outside(config, name)
        return self.run.step(name, keys.sections(config, name), keys.AFTER[name], files)

    @cached_property
    def resources(self) -> Resources:
        self.display.say("starting Ray", style="dim")
        config = self.config.resources
        cluster.connect(config)
        have = self.resources_now()
        if not have.gpus and config.gpus is None and cluster.address_of(config) != "local":
            text = "Ray has no GPU: this run uses CPUs; resources.gpus=1 waits for one"
            self.display.say(text, style="yellow")
        return have

    def resources_now(self) -> Resources:
        """What is free for this run, waited for where the config expects more; nodes that were not
        there before are asked whether they can work for it."""
        say = partial(self.display.say, style="yellow")
        have = cluster.await_resources(self.config.resources, say)
        # One node is the driver's own: it has its packages, its run folder and its model.
        if have.nodes > 1:
            self.nodes |= validate_nodes(self.run.folder, self.model, self.nodes)
        return have

    def replan_placement(self) -> None:
        """Let the next step be placed by what is free then. Warm engines stay as they are, and
        their placement with them."""
        if "resources" in self.__dict__ and self.engine is None:
            self.resources = self.resources_now()
            # Cached properties: without its value, the next use works it out again.
            self.__dict__.pop("placement", None)

    @cached_property
    def placement(self) -> Placement:
        if self.run.mirror and self.resources.nodes > 1:
            raise ConfigError(
                f"runs_dir={self.config.runs_dir!r} with {self.resources.nodes} nodes: workers "
                "write into the run folder; write a folder that all nodes share"
            )
        return plan_placement(self.resources, self.config, models.weights_gib(self.model))

    @cached_property
    def model(self) -> Path:
        return models.resolve(self.config.model)

    @cached_property
    def chat(self) -> Chat:
        return Chat.of(self.model, self.config.model)

    def start_engine(self) -> None:
        """The run's engines, warm from their first use to the end (or to training on their
        GPUs)."""
        config, placed = self.config, self.placement
        if self.engine is not None:
            return
        self.display.say("engine: starting", style="dim")
        start = serve.start_app if config.engine.serve else engine.start_engines
        self.engine, limits = start(
            self.model,
            config.model.dtype,
            placed.engine(config.engine),
            cpus=placed.have.node_cpus,
            gpus=placed.have.gpus,
            seed=config.seed,
            # On a CPU an arm is asked with merged weights, so no adapters go on top.
            options=(lora_options(config.train) if placed.have.gpus else {})
            | config.engine.options,
            log=self.run.folder / "engine_starts.log",
            serving=self.chat.serving,
        )
        self.slots = limits.max_num_seqs

    def end_engine(self) -> None:
        client.stop()
        serve.end_app()
        self.engine = None

    def chat_client(self) -> rewrite.ChatClient:
        """Who words and judges generated rows: the run's engine, the teacher behind an endpoint,
        which is started here, or a function of the user's. Raises ConfigError."""
        options, m, own = self.config.generate, self.config.model, None
        teacher = options.teacher
        use_teacher = bool(teacher.base_url)
        if use_teacher:
            self.resources  # noqa: B018  Ray must run before its actors
            ledger = self.run.folder / "teacher.jsonl"
            self.teacher = endpoint.start_teacher(teacher, options.cache != "off", ledger)
        model = " ".join([m.name, m.revision or "", m.dtype, str(self.model)])
        # Answers of a local engine are kept only on request: they cost no money.
        keep = options.cache == "all"
        if teacher.client:
            own = user_object(teacher.client, "generate.teacher.client")
            model = " ".join([teacher.client, teacher.model, teacher.revision])
            keep, use_teacher = options.cache != "off", True
        engine, most = self.config.engine, teacher.concurrency
        return rewrite.ChatClient(self.chat, engine, model, use_teacher, keep, own, most)

    def free_gpu(self, workers: int) -> None:
        """Before training with so many workers: the engines give their GPUs back where there are
        too few for both, and their memory is looked at."""
        turns = self.placement.take_turns or self.placement.turns(workers)
        if turns and self.engine is not None:
            self.end_engine()
            cluster.wait_for_gpus(
                self.placement.have.gpus, self.config.engine.gpu_memory_utilization
            )
            # Their GPUs are free now, so the training may be placed on them.
            self.replan_placement()

    def close(self) -> None:
        """Ray's end, and that of this process's hold on the run. A data set that an error left
        under way is stopped first: its thread would end the process with a status of its own once
        Ray is gone."""
        stopped = isinstance(sys.exception(), KeyboardInterrupt)
        if not (stopped and cluster.head_is_gone()):
            for rows in self.streams:
                rows.close()
            if "resources" in self.__dict__:
                self.end_engine()
                cluster.disconnect()
        self.ending.close()
        self.run.close()
