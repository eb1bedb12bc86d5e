"""Who words and judges generated rows: the run's engine, the teacher behind an endpoint, or a
function of the user's."""

from __future__ import annotations

from raytune_agents.config.lookup import user_object
from raytune_agents.generate import rewrite
from raytune_agents.inference import endpoint
from raytune_agents.pipeline.context import Context


def chat_client(context: Context) -> rewrite.ChatClient:
    """Who words and judges: the engine, or the teacher, which is started here. Raises
    ConfigError."""
    config, options = context.config, context.config.generate
    use_teacher = bool(options.teacher.base_url)
    if use_teacher:
        context.resources  # noqa: B018  Ray must run before its actors
        context.teacher = endpoint.start_teacher(
            options.teacher, options.cache != "off", context.run.folder / "teacher.jsonl"
        )
    m = config.model
    model = " ".join([m.name, m.revision or "", m.dtype, str(context.model)])
    # Answers of a local engine are kept only on request: they cost no money.
    keep, teacher, own = options.cache == "all", options.teacher, None
    if teacher.client:
        own = user_object(teacher.client, "generate.teacher.client")
        model = " ".join([teacher.client, teacher.model, teacher.revision])
        keep, use_teacher = options.cache != "off", True
    return rewrite.ChatClient(
        context.chat, config.engine, model, use_teacher, keep, own, teacher.concurrency
    )
