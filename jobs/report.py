"""One offline HTML page on the run, from its files only.

ray job submit --working-dir . -- python jobs/report.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, go


def main(config: str | None = None, overrides: OVERRIDES = None) -> None:
    go(("report",), config, overrides)


if __name__ == "__main__":
    typer.run(main)
