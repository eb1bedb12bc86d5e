"""One file per step, named as the step; `run` has their order: read it first."""
