"""Training: one function runs on every Ray Train worker; a method is a small module.

A method module has `columns(row, chat, config, pairs) -> list[dict]` (the rows of its TRL trainer,
as token ids) and `trainer(model, tokenizer, data, arguments, config) -> Trainer`."""
