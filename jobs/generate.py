"""Synthetic positives, mined failures and edited negatives, with one vLLM engine.

ray job submit --working-dir . -- python jobs/generate.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("generate",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
