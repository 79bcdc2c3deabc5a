"""The training loop: a generator that tells what happened; who calls it decides about showing and stopping.

One epoch is one pass. A checkpoint is written after each, with everything that decides what comes next, so that a run
that was stopped ends with the same weights. On a GPU the forward pass runs in bfloat16; several GPUs work together
where the command was started by ``accelerate launch``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.vision.recipe import Recipe

_CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"


class Learner(Protocol):
    """What a task gives to the loop."""

    @property
    def network(self) -> nn.Module:
        """Return the network that learns."""
        ...

    rank: int
    world: int

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters that learn, with their highest rates."""
        ...

    def steps(self) -> int:
        """Return the steps of an epoch."""
        ...

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """Yield the batches of one epoch, drawn with ``generator``."""
        ...

    def loss(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Return the parts of a batch's loss by name; their sum is what is learned."""
        ...

    def start_training(self) -> None:
        """Put the network into the state in which it learns (some keep the statistics of their batch norms)."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return measures of the network on the rows kept apart; nothing without any."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What happened: a step, or (with ``measures``) the end of an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    measures: dict[str, float] | None = None


def run(learner: Learner, recipe: Recipe, folder: Path, *, name: str = "training") -> Iterator[Progress]:
    """Train to the end, from the checkpoint in ``folder`` if there is one. The averaged weights are the result.

    The network of ``learner`` holds them when the generator is exhausted.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    learner.rank, learner.world = accelerator.process_index, accelerator.num_processes
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = learner.steps()
    total = steps * recipe.epochs
    learner.network.to(accelerator.device)
    optimizer = torch.optim.AdamW(learner.groups(), weight_decay=recipe.weight_decay)
    highest = [float(group["lr"]) for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, recipe.warm_up))
    average = copy.deepcopy(learner.network)
    checkpoint = folder / f"{name}.{_CHECKPOINT}"
    epoch = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=accelerator.device, weights_only=True)
        epoch = int(state["epoch"])
        learner.network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["random"].cpu())
    for group, rate in zip(optimizer.param_groups, highest, strict=True):
        group["initial_lr"] = rate
    network, optimizer = accelerator.prepare(learner.network, optimizer)
    while epoch < recipe.epochs:
        learner.start_training()
        for index, batch in enumerate(learner.batches(generator)):
            with accelerator.autocast():
                parts = learner.loss(network, batch)
            loss = torch.stack(list(parts.values())).sum()
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            _follow(average, learner.network, recipe.average, epoch * steps + index)
            losses = {key: float(value.detach()) for key, value in parts.items()}
            yield Progress(epoch, recipe.epochs, index + 1, steps, losses)
        epoch += 1
        average.eval()
        with torch.inference_mode():
            measures = learner.validate(average)
        if accelerator.is_main_process:
            with (folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stage": name, "epoch": epoch, "losses": losses, "measures": measures}) + "\n")
            _save(checkpoint, learner.network, average, optimizer, schedule, generator, epoch)
        yield Progress(epoch, recipe.epochs, steps, steps, losses, measures)
    learner.network.load_state_dict(average.state_dict())
    learner.network.eval()


def _rate(step: int, total: int, warm_up: float) -> float:
    """Return the share of the highest rate: a straight rise, then half a cosine down to 0."""
    rising = max(1, round(total * warm_up))
    if step < rising:
        return (step + 1) / rising
    done = min(1.0, (step - rising) / max(1, total - rising))
    return float(0.5 * (1 + torch.cos(torch.tensor(done * torch.pi))))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; early on they follow faster."""
    decay = min(decay, (1 + step) / (10 + step))
    for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)
    for mine_buffer, theirs_buffer in zip(average.buffers(), network.buffers(), strict=True):
        mine_buffer.copy_(theirs_buffer)


def _save(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: Any,
    schedule: Any,
    generator: torch.Generator,
    epoch: int,
) -> None:
    temporary = path.with_suffix(".tmp")
    state = {
        "epoch": epoch,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "generator": generator.get_state(),
        "random": torch.get_rng_state(),
    }
    torch.save(state, temporary)
    temporary.replace(path)
