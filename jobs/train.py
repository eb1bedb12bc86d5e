"""Train every arm with Ray Train, resuming from its last checkpoint.

ray job submit --working-dir . -- python jobs/train.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("train",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
