"""Evaluation: `metrics` of answers, `compare` of arms, `bfcl` the official checker's verdicts."""
