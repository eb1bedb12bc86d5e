"""The whole loop: read, generate, label, mix, train, evaluate, tune, report.

ray job submit --working-dir . -- python jobs/run.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, STEPS, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(STEPS, config, overrides)


if __name__ == "__main__":
    typer.run(main)
