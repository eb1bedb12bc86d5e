"""Who words and judges generated rows: the run's engine, or the teacher behind an endpoint."""

from __future__ import annotations

from raytune_agents.generate import rewrite
from raytune_agents.inference import endpoint
from raytune_agents.pipeline.context import Context


def voice_of(context: Context) -> rewrite.Voice:
    """Who words and judges: the engine, or the teacher, which is started here. Raises
    ConfigError."""
    config, section = context.config, context.config.generate
    taught = bool(section.teacher.base_url)
    if taught:
        context.resources  # noqa: B018  Ray must run before its actors
        context.teacher = endpoint.start(
            section.teacher, section.cache != "off", context.run.folder / "teacher.jsonl"
        )
    m = config.model
    model = " ".join([m.name, m.revision or "", m.dtype, str(context.model)])
    return rewrite.Voice(context.chat, config.engine, model, taught, section.cache == "all")
