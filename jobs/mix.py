"""Choose the training rows of every arm by trained tokens.

ray job submit --working-dir . -- python jobs/mix.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("mix",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
