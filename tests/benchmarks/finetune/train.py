"""Fine-tune SmolLM2-135M-Instruct on a subset, and measure its loss on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import orjson
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

EPOCHS = 3
BATCH = 32  # rows a step
RATE = 2e-4  # peak learning rate: after a warm-up it falls in a line to 0
WARM_UP = 0.05
LONGEST = 512  # tokens: longer rows are cut
AT_ONCE = 8192  # tokens, padding included: what a step's gradient is gathered from, piece by piece
Example = tuple[list[int], int]  # a conversation's tokens, and how many of them are the prompt


class Trainer:
    """One model, which each run starts from as it was."""

    def __init__(self, model: Path, device: str) -> None:
        self.device = torch.device(device)
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model.to(self.device).train()
        self.start = {name: value.clone() for name, value in self.model.state_dict().items()}

    def examples(self, path: Path) -> list[Example]:
        """The rows of an Alpaca file as conversations of this model."""
        found = []
        for row in map(orjson.loads, path.read_bytes().splitlines()):
            task = "\n".join(filter(None, [row["instruction"], row["input"]]))
            turns = [
                {"role": "user", "content": task},
                {"role": "assistant", "content": row["output"]},
            ]
            prompt, whole = (
                self.tokenizer.apply_chat_template(
                    turns[:n], add_generation_prompt=n == 1, tokenize=False
                )
                for n in (1, 2)
            )
            asked, tokens = self.tokenizer([prompt, whole], add_special_tokens=False)["input_ids"]
            assert tokens[: len(asked)] == asked and len(asked) < LONGEST, path
            found.append((tokens[:LONGEST], len(asked)))
        return found

    def run(self, rows: list[Example], held_out: list[Example], seed: int) -> dict[str, float]:
        """Train on rows, and measure on rows held out, in nats a response token.

        `loss` is that of the second half of `held_out`, after the epoch (0: none) at which the
        first half's, `chosen_by`, is least; `before` it is at epoch 0. `tokens` are those trained
        on in all epochs, `response_tokens` a row's on average, `seconds` without measuring.
        """
        self.model.load_state_dict(self.start)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), RATE, betas=(0.9, 0.95), fused=self.device.type == "cuda"
        )
        rng = np.random.default_rng(seed)
        steps = EPOCHS * -(-len(rows) // BATCH)
        warm_up = max(1, round(WARM_UP * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min((step + 1) / warm_up, (steps - step) / (steps - warm_up + 1)),
        )
        middle = len(held_out) // 2

        def measured() -> tuple[float, float]:
            return self.measure(held_out[:middle]), self.measure(held_out[middle:])

        losses, seconds = [measured()], 0.0
        for _ in range(EPOCHS):
            began = perf_counter()
            for batch in batches(rows, rng):
                responses = sum(len(tokens) - prompt for tokens, prompt in batch)
                for piece in pieces(batch):
                    (self.loss(piece) / responses).backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
            seconds += perf_counter() - began
            losses.append(measured())
        epoch = min(range(len(losses)), key=lambda epoch: losses[epoch][0])
        return {
            "before": losses[0][1],
            "chosen_by": losses[epoch][0],
            "loss": losses[epoch][1],
            "epoch": epoch,
            "tokens": EPOCHS * sum(len(tokens) for tokens, _ in rows),
            "response_tokens": float(np.mean([len(tokens) - n for tokens, n in rows])),
            "seconds": seconds,
        }

    def measure(self, rows: list[Example]) -> float:
        """Nats a response token."""
        with torch.no_grad():
            nats = sum(float(self.loss(piece)) for piece in pieces(rows))
        return nats / sum(len(tokens) - prompt for tokens, prompt in rows)

    def loss(self, rows: list[Example]) -> torch.Tensor:
        """Sum of nats over the responses' tokens."""
        width = max(len(tokens) for tokens, _ in rows)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        is_there = torch.zeros(len(rows), width, dtype=torch.bool)
        is_response = torch.zeros(len(rows), width, dtype=torch.bool)
        for row, (ids, prompt) in enumerate(rows):
            tokens[row, : len(ids)] = torch.tensor(ids)
            is_there[row, : len(ids)] = True
            is_response[row, prompt : len(ids)] = True
        tokens, is_there, is_response = (
            array.to(self.device) for array in (tokens, is_there, is_response)
        )
        with torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda"):
            found = self.model.model(tokens, attention_mask=is_there, use_cache=False)
            states = found.last_hidden_state
            # Scores of 49,152 tokens are made where a response is, and nowhere else.
            scores = self.model.lm_head(states[:, :-1][is_response[:, 1:]])
        answers = tokens[:, 1:][is_response[:, 1:]]
        return torch.nn.functional.cross_entropy(scores.float(), answers, reduction="sum")


def batches(rows: list[Example], rng: np.random.Generator) -> Iterator[list[Example]]:
    """All rows once, in random batches of rows of like length, so that little is padding."""
    order = rng.permutation(len(rows))
    found = []
    for start in range(0, len(order), 16 * BATCH):
        near = sorted(order[start : start + 16 * BATCH], key=lambda row: len(rows[row][0]))
        found += [near[at : at + BATCH] for at in range(0, len(near), BATCH)]
    for batch in rng.permutation(len(found)):
        yield [rows[row] for row in found[batch]]


def pieces(rows: list[Example]) -> Iterator[list[Example]]:
    """The rows in their order, as many at once as AT_ONCE allows."""
    piece: list[Example] = []
    for row in rows:
        if piece and (len(piece) + 1) * max(len(r[0]) for r in [*piece, row]) > AT_ONCE:
            yield piece
            piece = []
        piece.append(row)
    yield piece
