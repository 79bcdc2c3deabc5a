"""The ONNX graph running in onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class OnnxNetwork:
    """Runs the encoder's graph (`models.text.training.graph`) on the CPU.

    ``threads`` is the number of threads of one session; by default the processors this process may use.
    """

    def __init__(self, model: Path | bytes, *, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_processors()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads that spin would take the processor from the workers beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(self, ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return rows (batch, tokens, `Layout.width`) and scores (batch, labels, 2) of sentences of one length."""
        rows, scores = self._session.run(["rows", "scores"], {"ids": ids})
        return rows, scores


def usable_processors() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
