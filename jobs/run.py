"""The whole loop, or with --steps read,generate,... some of its steps, as a job on a cluster.

ray job submit --working-dir . -- python jobs/run.py --config jobs/configs/cluster.yaml"""

import typer

from raytune_agents.cli.app import OVERRIDES, STEPS, run_command


def main(config: str | None = None, overrides: OVERRIDES = None, steps: STEPS = None) -> None:
    run_command(config, overrides, steps)


if __name__ == "__main__":
    typer.run(main)
