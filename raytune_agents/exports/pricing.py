"""What tuning a hosted model on the rows would cost, and when that is paid back: tokens, prices by
the config's dated table, hours; and the commands that start it.

price = tokens * epochs / 1e6 * usd_per_mtok; hours = tokens * epochs / 1e6 / mtok_per_hour; an
answer's prompt and length are those of the rows. months = price / (answers_per_month *
traffic_share * what an answer saves). The price table is never fetched, the speed is a rough guess;
both say so in what is printed. The providers' limits and commands are those of their documentation.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raytune_agents.calls import render_calls
from raytune_agents.config import ConfigError, ExportConfig
from raytune_agents.config.export import PriceConfig
from raytune_agents.exports import WRITERS
from raytune_agents.records import ROW_FAULTS, RecordError, Trajectory, row_reason
from raytune_agents.storage import filled

COMMANDS = Path(__file__).with_name("tuning_commands.jinja")


@dataclass(frozen=True)
class ProviderLimits:
    """A provider's documented rules for a tuning file."""

    min_rows: int
    max_row_tokens: int
    max_file_bytes: int


LIMITS = {
    "openai": ProviderLimits(10, 65_536, 512 * 2**20),
    "gemini": ProviderLimits(100, 131_072, 2**30),  # 100 rows is what they advise to start with
}


def provider_problems(provider: str, row_tokens: Sequence[int], size: int) -> list[str]:
    """Why a provider would refuse a file of rows of so many tokens and `size` bytes; [] where the
    format has no provider."""
    limits = LIMITS.get(provider)
    if limits is None:
        return []
    found = []
    if len(row_tokens) < limits.min_rows:
        found.append(f"{len(row_tokens)} rows, fewer than {limits.min_rows}")
    long = sum(n > limits.max_row_tokens for n in row_tokens)
    if long:
        found.append(f"{long} rows are longer than {limits.max_row_tokens:,} tokens")
    if size > limits.max_file_bytes:
        found.append(f"the file has {size >> 20} MiB, more than {limits.max_file_bytes >> 20}")
    return found


@dataclass
class ExportPlan:
    """Tokens, money and time of one hosted tuning job; `problems` is why it would be refused."""

    provider: str
    price: PriceConfig
    rows: int
    tokens: int
    usd: float
    hours: float
    payback: str = ""
    problems: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """What a terminal shows."""
        price = self.price
        out = [
            f"{self.provider}: {price.model}, {self.rows} rows, {self.tokens:,} tokens "
            f"x {price.epochs} epochs",
            f"price about {self.usd:,.2f} USD (table of {price.as_of}; set export.prices)",
            f"time about {self.hours:.1f} h after the queue (a rough guess)",
        ]
        out += [self.payback] if self.payback else []
        out += [f"left out: {n} {reason}" for reason, n in self.left_out.most_common()]
        return out + [f"would be refused: {p}" for p in self.problems]


def roughly(text: str) -> int:
    """Tokens of a text without a tokenizer: four characters a token, rounded up."""
    return -(-len(text) // 4)


def export_plan(
    rows: Iterable[Trajectory],
    provider: str,
    config: ExportConfig,
    count: Callable[[str], int] = roughly,
) -> ExportPlan:
    """The plan of tuning `provider` on the rows as its writer writes them. Raises ConfigError."""
    if provider not in LIMITS or provider not in config.prices:
        known = ", ".join(sorted(LIMITS.keys() & config.prices.keys()))
        raise ConfigError(
            f"provider {provider!r} has no price in export.prices; write one of {known}"
        )
    price = config.prices[provider]
    sizes, answers, size, left_out = [], 0, 0, Counter()
    for row in rows:
        try:
            if row.failed:
                raise RecordError("a wrong answer")
            text = json.dumps(WRITERS[provider](row), ensure_ascii=False, allow_nan=False)
            size += len(text.encode()) + 1
        except ROW_FAULTS as error:
            left_out[row_reason(error)[:80]] += 1
            continue
        sizes.append(count(text))
        if last := row.target:
            answers += count(f"{last.content}{render_calls(last.tool_calls)}")
    tokens, payback = sum(sizes), ""
    mtok = tokens * price.epochs / 1e6
    usd, hours = mtok * price.usd_per_mtok, mtok / price.mtok_per_hour
    if sizes and price.tuned.model and price.today.model:
        prompt, answer = max(0, tokens - answers) / len(sizes), answers / len(sizes)
        payback = payback_line(usd, price, prompt, answer, config)
    problems = provider_problems(provider, sizes, size)
    return ExportPlan(provider, price, len(sizes), tokens, usd, hours, payback, problems, left_out)


def payback_line(
    usd: float, price: PriceConfig, prompt: float, answer: float, config: ExportConfig
) -> str:
    """What 1,000 answers cost tuned and today, each of `prompt` and `answer` tokens, and the months
    after which `usd` for the tuning is saved."""
    tuned, today = price.tuned, price.today
    new, old = (
        (prompt * p.usd_per_mtok_in + answer * p.usd_per_mtok_out) / 1_000 for p in (tuned, today)
    )
    thousands = config.answers_per_month * config.traffic_share / 1_000
    saved = (old - new) * thousands
    text = f"1,000 answers about {new:,.2f} USD ({tuned.model}), {old:,.2f} today ({today.model})"
    share = f"{config.traffic_share:.0%} of {config.answers_per_month:,} answers a month"
    if saved <= 0:
        return f"{text}; at {share} nothing is saved"
    return f"{text}; at {share} it saves {saved:,.2f} and is paid back in {usd / saved:.1f} months"


def tuning_commands(config: ExportConfig, files: Sequence[Path]) -> list[str]:
    """The commands that upload the files (train, then val), create the tuning job and ask how far
    it is; [] for a format without a provider's price, or a preset's many files."""
    if config.format not in config.prices or config.preset != "none" or not files:
        return []
    model = config.prices[config.format].model
    quoted = {"quoted": shlex.quote}
    return filled(COMMANDS, quoted, provider=config.format, model=model, files=files).splitlines()
