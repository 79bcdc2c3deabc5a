"""Where work is done: in processes of this machine, or by Ray on a cluster.

An engine knows nothing of reports. It takes work (`Work`, loaded once in each worker) and items, and gives the results
in the order of the items, few at a time. Whoever has batches to work through (labels, data sets, predictions) gets both
engines by it, and the same results from both.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypeVar

from nlp_service.engines.base import Pool, Work, Worker
from nlp_service.engines.options import EngineName, EngineOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

__all__ = ["EngineName", "EngineOptions", "Pool", "Work", "Worker", "open_pool"]


def open_pool(work: Work[Item, Result], options: EngineOptions) -> AbstractContextManager[Pool[Item, Result]]:
    """Return the workers of an engine; they end with the context.

    Raises:
        EngineUnavailable: Ray is not installed, or the cluster cannot be reached or has no room for a worker.
    """
    if options.name is EngineName.RAY:
        from nlp_service.engines.ray_pool import RayPool

        return RayPool(work, options)
    from nlp_service.engines.local_pool import LocalPool

    return LocalPool(work, options.workers or 1)
