"""Make every number of the study anew from the stored answers and compare: exit 1 on a difference.

python benchmarks/study/check.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tables import page, read_cells, study

RESULTS = Path(__file__).resolve().parents[1] / "results" / "study"


def main() -> int:
    made = json.loads(json.dumps(study(read_cells(RESULTS / "cells"))))
    stored = json.loads((RESULTS / "study.json").read_text(encoding="utf-8"))
    wrong = [key for key in made if made[key] != stored.get(key)]
    if (RESULTS / "STUDY.md").read_text(encoding="utf-8") != page(made):
        wrong.append("STUDY.md")
    cells = sum(len(m) for board in made["arms"].values() for m in board.values())
    print(f"{len(made['arms'])} arms, {cells} values and intervals made anew")
    for name in wrong:
        print(f"differs: {name}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
