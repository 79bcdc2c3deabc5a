"""The ONNX graph running in onnxruntime."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DEVICES = ("auto", "cpu", "cuda")  # auto: a GPU where one can be used
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
Floats = npt.NDArray[np.float32]


class OnnxNetwork:
    """Runs the encoder's graph (`models.text.training.graph`).

    ``threads`` is the number of threads of one session; by default the processors this process may use. ``device`` is
    what it should run on, one of `DEVICES`; where there is no GPU that onnxruntime can use it is the CPU, and
    ``remark`` says so to who asked for one. The attribute ``device`` tells what it came to be, ``busy_s`` for how long
    it has run.
    """

    def __init__(self, model: Path | bytes, *, threads: int | None = None, device: str = "cpu") -> None:
        import onnxruntime

        if device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_processors()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads that spin would take the processor from the workers beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        has_cuda = CUDA in onnxruntime.get_available_providers()
        self._session: Any = None
        if device != "cpu" and has_cuda:
            # Without a driver or with another version of CUDA's libraries, a session is made all the same, on the CPU.
            with suppress(Exception):
                self._session = onnxruntime.InferenceSession(source, options, providers=[CUDA, CPU])
        if self._session is None:
            self._session = onnxruntime.InferenceSession(source, options, providers=[CPU])
        self.device = "cuda" if CUDA in self._session.get_providers() else "cpu"
        self.remark = ""
        if device != "cpu" and self.device == "cpu" and (has_cuda or device == "cuda"):
            why = (
                "the GPU or its libraries cannot be used" if has_cuda else "this onnxruntime is made for the CPU alone"
            )
            self.remark = f"reading on the CPU: {why} (docs/scaling.md)"
        self.busy_s = 0.0

    def run(self, ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return rows (batch, tokens, `Layout.width`) and scores (batch, labels, 2) of sentences of one length."""
        started = time.perf_counter()
        rows, scores = self._session.run(["rows", "scores"], {"ids": ids})
        self.busy_s += time.perf_counter() - started
        return rows, scores


def usable_processors() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
