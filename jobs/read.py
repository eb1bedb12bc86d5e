"""Sources -> trajectories, split by tool name; a file is the unit of work.

ray job submit --working-dir . -- python jobs/read.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("read",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
