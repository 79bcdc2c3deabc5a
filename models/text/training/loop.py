"""The training loop: a generator of what happened; the caller decides about logs, checkpoints and stopping.

A step depends on the seed, its number and the weights alone: batches come from permutations of the seed and the epoch,
dropout and hidden pieces from a random state set at each step. So a run that was killed goes on from its last
checkpoint to the very weights of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from models.text.training.batches import Step, make_step
from models.text.training.examples import ReportExample, SentenceExample
from models.text.training.loss import step_loss
from models.text.training.network import ReportEncoder
from models.text.training.recipe import Stage


@dataclass(frozen=True, slots=True)
class StepDone:
    """What one step did: its number from 1, the losses, and the encoder's rate."""

    step: int
    n_steps: int
    token_loss: float
    label_loss: float
    rate: float


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """What a stage learns from. ``sentences`` hold the reports' own first; ``synthetic`` are drawn beside them."""

    sentences: Sequence[SentenceExample]
    reports: Sequence[ReportExample]
    synthetic: Sequence[SentenceExample]
    pad_id: int
    mask_id: int


class Trainer:
    """Trains a network through one stage. `state` and `restore` are its checkpoint."""

    def __init__(self, network: ReportEncoder, stage: Stage, material: Material, *, seed: int) -> None:
        if not material.reports:
            raise ValueError("there is no report to learn from")
        self.network = network
        self.stage = stage
        self.material = material
        self.seed = seed
        self.device = next(network.parameters()).device
        self.steps_per_epoch = math.ceil(len(material.reports) / stage.reports)
        self.n_steps = max(round(self.steps_per_epoch * stage.epochs), 1)
        self.step = 0
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = stage.dropout
        encoder, plain, heads = _parameter_groups(network)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "lr": stage.encoder_rate, "weight_decay": stage.weight_decay},
                {"params": plain, "lr": stage.encoder_rate, "weight_decay": 0.0},
                {"params": heads, "lr": stage.head_rate, "weight_decay": 0.0},
            ],
            fused=True,
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]

    def state(self) -> dict[str, Any]:
        """Return all that a killed run needs to go on."""
        return {
            "stage": self.stage.name,
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same stage."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])

    def run(self) -> Iterator[StepDone]:
        """Train to the end of the stage, yielding after each step."""
        stage = self.stage
        while self.step < self.n_steps:
            step = self._draw(self.step)
            torch.manual_seed((self.seed << 24) + self.step)
            factor = _one_cycle(self.step, self.n_steps, stage.warm_up)
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.network.train()
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = step_loss(
                    self.network,
                    step,
                    token_weight=stage.token_weight,
                    mask_id=self.material.mask_id,
                    mask_share=stage.masked,
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self.step += 1
            self._follow()
            yield StepDone(self.step, self.n_steps, loss.tokens, loss.labels, stage.encoder_rate * factor)

    def _follow(self) -> None:
        """Move the averaged weights; a young average follows faster."""
        decay = min(self.stage.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                mean = self.average[name]
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - decay)

    def _draw(self, number: int) -> Step:
        stage, material = self.stage, self.material
        epoch, position = divmod(number, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(material.reports))
        chosen = order[position * stage.reports : (position + 1) * stage.reports]
        extra: list[SentenceExample] = []
        if material.synthetic and stage.synthetic:
            n = len(material.synthetic)
            first = number * stage.synthetic
            for i in range(first, first + stage.synthetic):
                extra.append(material.synthetic[i % n])
        step = make_step(material.sentences, [material.reports[i] for i in chosen], extra, material.pad_id)
        if self.device.type == "cpu":
            return step
        return Step(
            tuple(group.to(self.device) for group in step.groups),
            step.sentence.to(self.device),
            step.report.to(self.device),
            step.labels.to(self.device),
            step.known.to(self.device),
        )


def _parameter_groups(network: ReportEncoder) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Return the encoder's matrices, its biases and norms (which do not decay), and the heads."""
    encoder, plain, heads = [], [], []
    for name, parameter in network.named_parameters():
        if not name.startswith("bert."):
            heads.append(parameter)
        elif parameter.ndim < 2:
            plain.append(parameter)
        else:
            encoder.append(parameter)
    return encoder, plain, heads


def _one_cycle(step: int, n_steps: int, warm_up: float) -> float:
    """Return the factor of the rates: a straight rise, then half a cosine down to zero."""
    rise = warm_up * n_steps
    if step < rise:
        return (step + 1) / max(rise, 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(n_steps - rise, 1)))
