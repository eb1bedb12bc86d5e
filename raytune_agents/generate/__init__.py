"""Synthetic trajectories: every pool by name, made from agent specs, pure and seeded."""
