"""The options that say where work is done, the same for every command that has them."""

from __future__ import annotations

from typing import Annotated

import typer

from nlp_service.engines import EngineName

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Where the work is done: processes of this machine, or a Ray cluster. The output has the same bytes.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        "--workers",
        min=1,
        help="Number of processes (default: one a core, at most 8), or of workers on the Ray cluster (default: as many "
        "as it has room for).",
        show_default=False,
    ),
]
PictureWorkersOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        "--workers",
        min=1,
        help="Number of processes, each with one thread unless --threads says more (default: this process reads, with "
        "all cores), or of workers on the Ray cluster (default: as many as it has room for).",
        show_default=False,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Address of the Ray cluster, or `auto` for one that runs here (default: Ray is started for this run, on "
        "this machine).",
        show_default=False,
    ),
]
GpusPerWorkerOption = Annotated[
    float,
    typer.Option(
        "--gpus-per-worker",
        min=0.0,
        help="Share of a GPU for each worker of the engine ray; with 0.25, four have one together.",
    ),
]


def checked_engine(engine: str, ray_address: str | None, gpus_per_worker: float) -> EngineName:
    """Return the engine; raise `typer.BadParameter` where the options do not go together."""
    if engine not in {*EngineName}:
        raise typer.BadParameter(f"{engine!r} is neither local nor ray", param_hint="--engine")
    if engine != EngineName.RAY and (ray_address is not None or gpus_per_worker):
        hint = "--ray-address" if ray_address is not None else "--gpus-per-worker"
        raise typer.BadParameter("these are for --engine ray", param_hint=hint)
    if gpus_per_worker > 1 and gpus_per_worker % 1:
        raise typer.BadParameter("a part of one GPU, or whole ones", param_hint="--gpus-per-worker")
    return EngineName(engine)
