"""Search mix and hyper-parameters together with Ray Tune.

ray job submit --working-dir . -- python jobs/tune.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("tune",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
