"""raytune-agents: from a few good trajectories and a tool catalogue to a better tool-calling
model."""

__version__ = "0.1.0"
