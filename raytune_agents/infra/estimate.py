"""Memory, time, disk and money of a run from plain numbers: the arithmetic of `pipeline.plan`.

Memory and disk follow from the model's shapes. Seconds are operations over the machine's speed
(measured on a CPU, a table for GPUs) times the share of it that each kind of work reaches. Those
of GPUs are guesses, and `Speed.source` says so.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from raytune_agents import models
from raytune_agents.config import Config, TrainConfig
from raytune_agents.infra.placement import GPUS, Placement

GIB = 2**30
# Share of the speed that training, reading a prompt, an engine's and a trial's writing reach. CPU
# shares and START_S are those of `make demo` (smollm2-135m, fp32) on a Xeon with two cores and
# avx512_bf16, 200 GFLOP/s each: 300 tokens/s trained, 680 read, 300 and 36 written.
CPU_SHARES = {"train": 0.4, "read": 0.46, "write": 0.2, "score": 0.025}
GPU_SHARES = {"train": 0.3, "read": 0.4, "write": 0.02, "score": 0.01}
# Per weight and token. Training takes twice a forward pass and, under an adapter, no gradients of
# the frozen weights.
OPERATIONS = {"train": 4, "read": 2, "write": 2, "score": 2}
START_S = {
    **{"ray": 6.0, "engine": 14.0, "step": 1.0, "arm": 17.0, "merge": 6.0},
    **{"stage": 10.0, "trial": 4.0},  # of the search
}
# A decode step of few sequences takes as long as one of so many on a CPU.
SMALLEST_STEP = 20
ROW_S = 0.002  # reading and labelling one row, on one core
PROCESS_GIB = {"train": 1.0, "engine": 1.3}  # interpreter, torch, ray and what they import
# oneDNN keeps reordered copies for every shape that it meets, and freed blocks of other sizes stay.
BF16_CPU_GIB = 2.2
# Matrix units (AMX) multiply six times as fast as fp32; norms, softmax and copies do not.
BF16_GAIN = 2.0


@dataclass(frozen=True)
class DecoderShape:
    """A decoder's sizes, from config.json and the headers of its safetensors."""

    parameters: int
    weights_gib: float
    matrices: dict[str, tuple[int, int]]  # name -> (out, in), without embeddings and head
    layers: int
    hidden: int
    inner: int
    kv_width: int  # of all key (or value) heads of a layer
    vocab: int

    @classmethod
    def of(cls, folder: Path) -> DecoderShape:
        """Raises KeyError where config.json is not that of a decoder."""
        config = models.decoder_config(folder)
        sizes = {}
        for file in sorted(folder.glob("*.safetensors")):
            sizes |= tensor_shapes(file)
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        wide = config.get("head_dim") or hidden // heads
        outer = ("embed", "lm_head", "wte")
        return cls(
            parameters=sum(prod(s) for s in sizes.values()),
            weights_gib=models.weights_gib(folder),
            matrices={
                name.removesuffix(".weight"): (s[0], s[1])
                for name, s in sizes.items()
                if len(s) == 2 and not any(word in name for word in outer)
            },
            layers=config["num_hidden_layers"],
            hidden=hidden,
            inner=config["intermediate_size"],
            kv_width=wide * (config.get("num_key_value_heads") or heads),
            vocab=config["vocab_size"],
        )

    def trained(self, config: TrainConfig) -> int:
        """Weights that are trained: all, or r * (in + out) of every target."""
        if config.parameters == "full":
            return self.parameters
        lora = config.lora
        names = None if lora.target_modules == "all-linear" else tuple(lora.target_modules)
        return sum(
            lora.r * (rows + columns)
            for name, (rows, columns) in self.matrices.items()
            if names is None or name.split(".")[-1] in names or name in names
        )

    def kv_bytes(self) -> int:
        """Bytes of a token in the KV cache: a key and a value of two bytes a number."""
        return 2 * self.layers * self.kv_width * 2


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Name -> shape of every tensor: the header only (8 bytes of length, then JSON)."""
    with file.open("rb") as handle:
        (size,) = struct.unpack("<Q", handle.read(8))
        head = json.loads(handle.read(size))
    return {name: about["shape"] for name, about in head.items() if name != "__metadata__"}


def training_gib(
    shape: DecoderShape,
    config: TrainConfig,
    width: int,
    tokens: int,
    answer_share: float,
    gpu: bool,
) -> dict[str, float]:
    """GiB of one training worker by what holds them. `width`: bytes of a number; `tokens`: padded
    tokens of one forward pass, of which `answer_share` columns have logits.

    A layer keeps, for a token, its input, the normed input, query, key, value, attention output and
    two residuals (6 hidden + 2 kv), five inner values, and two normalisations in fp32."""
    kept = {"none": 1.0, "int8": 0.5 * width / 2, "nf4": 0.3 * width / 2}[config.quantization]
    split = config.span[1] if config.sharding in ("fsdp", "zero3") else 1
    states = config.span[1] if config.sharding not in ("none", "ddp") else 1
    trained = shape.trained(config)
    layer = width * (6 * shape.hidden + 2 * shape.kv_width + 5 * shape.inner) + 8 * shape.hidden
    if config.gradient_checkpointing:
        # Each layer keeps its input, and one of them at a time is worked out again.
        layer = width * shape.hidden + layer / shape.layers
    head = shape.vocab * (width + 12) * answer_share
    process = PROCESS_GIB["train"] + (BF16_CPU_GIB if width == 2 and not gpu else 0.0)
    return {
        "process": process,
        "weights": shape.parameters * width * kept / split / GIB,
        # 16 bytes per trained weight: itself, its gradient and two moments, in fp32.
        "gradients, optimiser": trained * 16 / states / GIB,
        "activations": tokens * (shape.layers * layer + head) / GIB,
    }


def engine_gib(shape: DecoderShape, width: int, kv_gib: float) -> dict[str, float]:
    """GiB of one engine on CPU whose numbers have `width` bytes. Two more copies of the weights
    are there while an adapter is merged: the merged model and vLLM's fused layers."""
    weights = shape.parameters * width / GIB
    process = PROCESS_GIB["engine"]
    return {"process": process, "weights": weights, "KV cache": kv_gib, "merging": 2 * weights}


@dataclass(frozen=True)
class Speed:
    """Operations a second of all that a step uses, and where the number is from."""

    flops: float
    shares: dict[str, float]
    source: str

    def seconds(self, shape: DecoderShape, **tokens: float) -> float:
        """Time of so many tokens: train, read, write, score."""
        return sum(
            shape.parameters * OPERATIONS[kind] * count / (self.flops * self.shares[kind])
            for kind, count in tokens.items()
        )


def speed(gpus: int, gpu_type: str, cores: int, dtype: str = "auto") -> Speed:
    """Of the GPUs by their type, else of this machine's cores, measured in the dtype (model.dtype)
    that a run would use."""
    if gpus:
        listed = GPUS.get(gpu_type, {}).get("tflops")
        each, known = listed or 100, "data sheet" if listed else "a guess"
        source = f"{each} TFLOP/s per GPU ({known}); the shares of it reached are guesses"
        return Speed(gpus * each * 1e12, GPU_SHARES, source)
    kind, core = "float32", models.core_flops("float32")
    if models.bf16(dtype):
        kind, core = "bfloat16", min(models.core_flops("bfloat16"), BF16_GAIN * core)
    source = f"{cores} cores of {core / 1e9:.0f} GFLOP/s in {kind}, measured"
    return Speed(cores * core, CPU_SHARES, source)


def kv_gib(config: Config, placed: Placement, shape: DecoderShape) -> float:
    """An engine's KV cache: as configured on CPU, what is left of its share on GPUs."""
    if not placed.have.gpus:
        return float(max(1, round(config.engine.kv_cache_gib)))
    share = config.engine.gpu_memory_utilization * placed.tensor_parallel_size
    return max(0.0, (placed.gpu_gib or 0) * share - shape.weights_gib - 1.0)


def money(config: Config, hours: float, placed: Placement) -> tuple[float, str]:
    """USD, and by which price."""
    have, prices = placed.have, config.resources.prices
    if config.budget.usd_per_hour:
        return hours * config.budget.usd_per_hour, "budget.usd_per_hour"
    kind, count = (have.gpu_type, have.gpus) if have.gpus else ("CPU", have.cpus)
    if kind not in prices:
        return 0.0, f"no price: write resources.prices.{kind or 'GPU'}"
    return hours * count * prices[kind], f"resources.prices.{kind} {prices[kind]:g} an hour"


def disk_gib(
    shape: DecoderShape, sections: Sequence[TrainConfig], trials: int, extras: int
) -> dict[str, float]:
    """GiB that a run leaves and, while it trains, needs. `extras`: bytes of a tokenizer. A
    checkpoint, of which each trial keeps one, has the weights and two moments of each in fp32, and
    the tokenizer."""
    sizes = [shape.trained(s) * 4 for s in sections]
    largest = max(sizes, default=0)
    return {
        "adapters": sum(size + extras for size in sizes) / GIB,
        "trials": trials * (3 * largest + extras) / GIB,
        "while training": 2 * 3 * largest / GIB,
    }
