"""Teacher-forced score: one forward pass says whether greedy decoding would write the gold
answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from raytune_agents.calls import judge
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.models import causal_lm
from raytune_agents.records import RecordError, Trajectory, from_row
from raytune_agents.train.job import LONGER

FORWARD_TOKENS = 1024  # padded tokens of one forward pass
Example = Mapping[str, Any]  # a tokenised row: input_ids, labels, row_id


def objective(exact_match: float, val_loss: float) -> float:
    """exact_match - 0.01 * val_loss: the score to maximise. The loss moves it by less than one row
    in a hundred a nat, so it orders only trials whose exact match is (almost) equal."""
    return exact_match - 0.01 * val_loss


def pad(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Columns input_ids and labels -> right-padded batch [rows, seq] with its attention mask."""

    def padded(rows: Iterable[Any], value: int) -> torch.Tensor:
        return pad_sequence([torch.as_tensor(row) for row in rows], True, value)

    return {
        "input_ids": padded((e["input_ids"] for e in examples), pad_id),
        "labels": padded((e["labels"] for e in examples), IGNORE),
        "attention_mask": padded(([1] * len(e["labels"]) for e in examples), 0),
    }


def logits_at(model: Any, batch: dict[str, torch.Tensor], columns: torch.Tensor) -> torch.Tensor:
    """Logits of a batch at these positions only, [rows, columns, vocab]."""
    return model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=columns,
        use_cache=False,
    ).logits


@torch.no_grad()
def answers(
    model: Any, examples: Sequence[Example], pad_id: int
) -> Iterator[tuple[int, bool, float, int]]:
    """(example, whether every answer token is the argmax given the gold before it, summed NLL of
    the answer in nats, its tokens); the longest first."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]["input_ids"]))
    was_training = model.training
    model.eval()
    while order:
        width = len(examples[order[-1]]["input_ids"])
        take = max(1, min(len(order), FORWARD_TOKENS // width))
        part, order = order[-take:], order[:-take]
        batch = {k: v.to(model.device) for k, v in pad([examples[i] for i in part], pad_id).items()}
        labels = batch["labels"][:, 1:]
        keep = labels != IGNORE
        # Positions where some row has an answer: the head is paid for those only.
        columns = keep.any(dim=0).nonzero().squeeze(-1)
        logits = logits_at(model, batch, columns)
        mask, gold = keep[:, columns], labels[:, columns]
        right = ((logits.argmax(-1) == gold) | ~mask).all(dim=1)
        nll = torch.zeros(mask.shape, device=logits.device)
        # In float32, as training works it out: the sums of thousands of tokens are compared.
        nll[mask] = F.cross_entropy(logits[mask].float(), gold[mask], reduction="none")
        found = zip(part, right.tolist(), nll.sum(1).tolist(), mask.sum(1).tolist())
        yield from found
    model.train(was_training)


def teacher_forced(model: Any, examples: Sequence[Example], pad_id: int) -> dict[str, Any]:
    """exact_match: share of rows whose every answer token is the argmax given the gold before it,
    in [0, 1] (equal to exact text match of greedy decoding); val_loss: mean NLL of answer tokens in
    nats; n: examples; hits: {row_id: 1.0 or 0.0} (all examples of a row must match). Raises
    ValueError without rows."""
    if not examples:
        raise ValueError("no rows to score; write a larger tune.rows or more val rows")
    found = list(answers(model, examples, pad_id))
    hits: dict[str, float] = {}
    for i, right, _, _ in found:
        row = examples[i]["row_id"]
        hits[row] = float(right and hits.get(row, 1.0))
    return {
        "exact_match": sum(hits.values()) / len(hits),
        # Per token over all rows, not a mean of rows: a short answer weighs by its length.
        "val_loss": sum(nll for _, _, nll, _ in found) / sum(n for *_, n in found),
        "n": len(examples),
        "hits": hits,
    }


@torch.no_grad()
def first_tokens(
    model: Any, examples: Sequence[Example], pad_id: int, rows_each: int = 8
) -> list[int]:
    """The token that greedy decoding would begin each example's answer with; one forward pass."""
    was_training, out = model.training, []
    model.eval()
    for start in range(0, len(examples), rows_each):
        part = examples[start : start + rows_each]
        ends = [next(i for i, y in enumerate(e["labels"]) if y != IGNORE) for e in part]
        # Prompts alone, and padded on the right: a causal model sees nothing behind a position.
        prompts = [
            {name: e[name][:n] for name in ("input_ids", "labels")} for e, n in zip(part, ends)
        ]
        batch = {k: v.to(model.device) for k, v in pad(prompts, pad_id).items()}
        columns = torch.tensor(sorted({n - 1 for n in ends}), device=model.device)
        tokens = logits_at(model, batch, columns).argmax(-1)
        at = {int(c): k for k, c in enumerate(columns)}
        out += [int(tokens[i, at[n - 1]]) for i, n in enumerate(ends)]
    model.train(was_training)
    return out


@torch.no_grad()
def greedy_answers(
    model: Any,
    chat: Chat,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: Sequence[int],
    rows_each: int = 16,
) -> list[str]:
    """The answer that the model writes greedily to each prompt [tokens], at most so many tokens
    long; prompts of like length share a batch, so that little of it is padding."""
    was_training, texts, tokenizer = model.training, [""] * len(prompts), chat.tokenizer
    model.eval()
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), max_new_tokens[i]))
    for start in range(0, len(order), rows_each):
        part = order[start : start + rows_each]
        batch = tokenizer.pad(
            [{"input_ids": list(prompts[i])} for i in part],
            # All prompts then end at one position, where the answers begin.
            padding_side="left",
            return_tensors="pt",
        ).to(model.device)
        out = model.generate(
            **batch,
            max_new_tokens=max(max_new_tokens[i] for i in part),
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=chat.end_ids,
            use_cache=True,
        )
        written = out[:, batch["input_ids"].shape[1] :]
        for i, ids in zip(part, written):
            # The batch was written to its longest limit; each row is cut at its own.
            texts[i] = chat.answer_text(ids[: max_new_tokens[i]].tolist(), prompts[i])
    model.train(was_training)
    return texts


def answered(model: Any, examples: Sequence[Example], chat: Chat) -> float:
    """Share of examples whose greedy answer is right by BFCL's rules, in [0, 1]. An example has
    its row (JSON text) beside its ids; what comes before its last answer is the prompt."""
    prompts, limits = [], []
    for e in examples:
        ids, labels = e["input_ids"], e["labels"]
        # Where the last run of labels begins: earlier answers are part of its prompt.
        end = max(i for i in range(1, len(labels)) if labels[i - 1] == IGNORE != labels[i])
        prompts.append(ids[:end])
        limits.append(len(ids) - end + LONGER)
    texts = greedy_answers(model, chat, prompts, limits)
    rows = [from_row(json.loads(e["row"])) for e in examples]
    return sum(judge(text, row).ok for text, row in zip(texts, rows)) / len(examples)


class RowNll:
    """A row's mean NLL of its answer tokens under the model, nats per token; loaded once."""

    def __init__(self, path: str, dtype: str, chat: Chat):
        where = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = causal_lm(path, dtype).to(where)
        self.chat = chat

    def __call__(self, rows: Sequence[Trajectory]) -> list[float | None]:
        """None where a row cannot be encoded (nothing to train on, too long)."""
        examples, owner = [], []
        for i, row in enumerate(rows):
            with suppress(RecordError):
                made = self.chat.encode(row)
                examples += [{"input_ids": e.input_ids, "labels": e.labels} for e in made]
                owner += [i] * len(made)
        total = [[0.0, 0] for _ in rows]
        for k, _, nll, tokens in answers(self.model, examples, self.chat.tokenizer.pad_token_id):
            total[owner[k]][0] += nll
            total[owner[k]][1] += tokens
        return [nll / tokens if tokens else None for nll, tokens in total]
