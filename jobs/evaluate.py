"""Base and arms answer the same test rows; scores with intervals, paired differences.

ray job submit --working-dir . -- python jobs/evaluate.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("evaluate",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
