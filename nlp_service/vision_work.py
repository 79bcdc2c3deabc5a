"""Pictures read with an image model on an engine: what `nlp_service.work` is for labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path

from models.vision.batches import Drawn, Told, read_batch
from models.vision.errors import VisionError
from models.vision.predict import Predicted, Wanted, predict
from models.vision.runtime import VisionModel
from models.vision.sources import Picture, Source, Unreadable, read
from nlp_service._version import __version__
from nlp_service.engines import EngineOptions, Pool, open_pool
from nlp_service.errors import WorkerMismatch

Batch = tuple[Source, ...]
Answered = list[Told | Unreadable]


@dataclass(frozen=True, slots=True)
class VisionPlan:
    """All that a process needs to read pictures: the `nlp_service.engines.Work` of a run."""

    model: Path
    drawn: Drawn
    identity: str
    threads: int = 1
    device: str = "cpu"

    def start(self) -> PictureReader:
        """Return the worker of a process."""
        return PictureReader(VisionModel(self.model, threads=self.threads, device=self.device), self.drawn)


class PictureReader:
    """Reads batches in this process: the `nlp_service.engines.Worker` of a run."""

    def __init__(self, model: VisionModel, drawn: Drawn) -> None:
        self._model, self._drawn = model, drawn

    @property
    def identity(self) -> str:
        """Return what the answers depend on besides the plan."""
        return identity(self._model)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know of this process."""
        return (self._model.remark,) if self._model.remark else ()

    def __call__(self, batch: Batch) -> Answered | VisionError:
        """Return what is said of a batch, or what is wrong with one of its pictures.

        An error goes back as a value: of what is raised an engine tells the kind alone, and this one says what to do.
        """
        try:
            return read_batch(self._model, self._drawn, batch)
        except VisionError as error:
            return error


def identity(model: VisionModel) -> str:
    """Return a digest of all that answers depend on: the same in every process that gives the same answers."""
    return blake2b(f"{__version__}\n{model.manifest.digest}".encode(), digest_size=32).hexdigest()


def predict_on(
    engine: EngineOptions | None,
    model: Path,
    images: Path,
    out: Path,
    wanted: Wanted,
    *,
    threads: int | None = None,
    on_pictures: Callable[[int], None] = lambda done: None,
) -> tuple[Predicted, tuple[str, ...]]:
    """Write a model's answers for pictures as `models.vision.predict.predict` does, read by the workers of an engine.

    Without an engine this process reads, with all cores unless ``threads`` says otherwise; a worker takes one thread.
    The bytes are the same. Returns what was done, and what the workers had to say.
    """
    loaded = VisionModel(model, threads=threads)
    if engine is None:
        return predict(loaded, images, out, wanted, on_pictures=on_pictures), ()
    device = "cuda" if engine.gpus_per_worker else "cpu"
    plan = VisionPlan(model.absolute(), wanted.drawn, identity(loaded), threads or 1, device)
    with ExitStack() as stack:
        pools: list[Pool[Batch, Answered | VisionError]] = []

        def answers(batches: Iterator[Batch]) -> Iterator[Answered]:
            first = list(islice(batches, 1))  # a place that holds nothing is an error before a cluster is started
            pools.append(stack.enter_context(open_pool(plan, engine)))
            return _checked(pools[0].map, chain(first, batches))

        done = predict(loaded, images, out, wanted, answers=answers, on_pictures=on_pictures)
        return done, pools[0].remarks


def _checked(
    answer: Callable[[Iterable[Batch]], Iterator[Answered | VisionError]], batches: Iterator[Batch]
) -> Iterator[Answered]:
    """Yield the answers for batches; a picture that a worker could not read, and that can be read here, is an error."""
    asked: deque[Batch] = deque()

    def noted() -> Iterator[Batch]:
        for batch in batches:
            asked.append(batch)
            yield batch

    for answered in answer(noted()):
        batch = asked.popleft()
        if isinstance(answered, VisionError):
            raise answered
        for source, told in zip(batch, answered, strict=True):
            if isinstance(told, Unreadable) and isinstance(read(source), Picture):
                raise WorkerMismatch(
                    f"{source.file}: a worker cannot read this picture, and this machine can: the workers need the "
                    "pictures under the same path (a file system that all machines share)"
                )
        yield answered
