"""`python -m raytune_agents` is `raytune-agents`."""

from raytune_agents.cli.app import main

main()
