"""Filters and deduplication by py-data-juicer, in its own environment: read, filter, dedup, write.

    python data_juicer_dedup.py FOLDER

Reads FOLDER/in/*.jsonl (text, id), writes FOLDER/out.jsonl and FOLDER/result.json: seconds, kept
ids. Two processes; character 5-grams, 256 permutations and a threshold of 0.8, as in our chain.
The filters are the cheap ones on text; it has none for calls and schemas.
"""

import json
import sys
import time
from pathlib import Path

from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor

PROCESSES = 2


def main(folder: Path) -> None:
    recipe = {
        "project_name": "bench",
        "dataset_path": str(folder / "in"),
        "export_path": str(folder / "out.jsonl"),
        "np": PROCESSES,
        "text_keys": "text",
        "use_cache": False,
        "open_monitor": False,
        "process": [
            {"text_length_filter": {"min_len": 10, "max_len": 20_000}},
            {"alphanumeric_filter": {"min_ratio": 0.2}},
            {"special_characters_filter": {"max_ratio": 0.6}},
            {"character_repetition_filter": {"rep_len": 10, "max_ratio": 0.9}},
            {"document_minhash_deduplicator": {
                "tokenization": "character", "window_size": 5, "num_permutations": 256,
                "jaccard_threshold": 0.8}},
        ],
    }  # fmt: skip
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    yaml = folder / "recipe.yaml"
    yaml.write_text(path.read_text())  # JSON is YAML
    config = init_configs(["--config", str(yaml)])
    start = time.perf_counter()
    DefaultExecutor(config).run()
    seconds = time.perf_counter() - start
    kept = [json.loads(line)["id"] for line in (folder / "out.jsonl").open()]
    (folder / "result.json").write_text(json.dumps({"seconds": round(seconds, 2), "kept": kept}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
