"""Rules, duplicates and leaks write a reject reason; nothing is dropped.

ray job submit --working-dir . -- python jobs/label.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("label",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
