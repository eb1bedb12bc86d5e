"""MinHash deduplication by datatrove, in its own environment: read, four stages, write.

    python datatrove_dedup.py FOLDER [BUCKETS HASHES]

Reads FOLDER/in/*.jsonl (text, id), writes FOLDER/out and FOLDER/result.json: seconds, kept ids.
Two workers; word 5-grams, and by default its own 14 buckets of 8 hashes.
"""

import gzip
import json
import sys
import time
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

WORKERS = 2


def main(folder: Path, buckets: int = 14, hashes: int = 8) -> None:
    config = MinhashConfig(num_buckets=buckets, hashes_per_bucket=hashes)
    places = {name: str(folder / name) for name in ("in", "sigs", "buckets", "remove", "out")}
    stages = [
        ([JsonlReader(places["in"]), MinhashDedupSignature(places["sigs"], config=config)], 2),
        ([MinhashDedupBuckets(places["sigs"], places["buckets"], config=config)],
         config.num_buckets),
        ([MinhashDedupCluster(places["buckets"], places["remove"], config=config)], 1),
        ([JsonlReader(places["in"]), MinhashDedupFilter(places["remove"]),
          JsonlWriter(places["out"])], 2),
    ]  # fmt: skip
    start = time.perf_counter()
    for number, (pipeline, tasks) in enumerate(stages):
        logs = str(folder / "logs" / str(number))
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=WORKERS, logging_dir=logs).run()
    seconds = time.perf_counter() - start
    kept = []
    for path in (folder / "out").glob("*.jsonl.gz"):
        with gzip.open(path, "rt") as lines:
            kept += [json.loads(line)["id"] for line in lines]
    (folder / "result.json").write_text(json.dumps({"seconds": round(seconds, 2), "kept": kept}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
