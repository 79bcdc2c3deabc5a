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
        self._session, self.remark = open_session(source, options, device)
        self.device = "cuda" if CUDA in self._session.get_providers() else "cpu"
        self.busy_s = 0.0

    def run(self, ids: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return rows (batch, tokens, `Layout.width`) and scores (batch, labels, 2) of sentences of one length.

        A sentence alone goes in twice: onnxruntime has products of its own for a batch of one, whose sums have another
        order, and the last bit of a score would tell who was read beside whom. From two on it makes no difference.
        """
        started = time.perf_counter()
        given = np.repeat(ids, 2, axis=0) if len(ids) == 1 else ids
        rows, scores = self._session.run(["rows", "scores"], {"ids": given})
        self.busy_s += time.perf_counter() - started
        return rows[: len(ids)], scores[: len(ids)]


def open_session(source: str | bytes, options: Any, device: str) -> tuple[Any, str]:
    """Return an onnxruntime session on a device of `DEVICES`, and a remark for who asked for a GPU and gets the CPU."""
    import onnxruntime

    has_cuda = CUDA in onnxruntime.get_available_providers()
    session: Any = None
    if device != "cpu" and has_cuda:
        # Without a driver or with another version of CUDA's libraries, a session is made all the same, on the CPU.
        with suppress(Exception):
            session = onnxruntime.InferenceSession(source, options, providers=[CUDA, CPU])
    if session is None:
        session = onnxruntime.InferenceSession(source, options, providers=[CPU])
    if device == "cpu" or CUDA in session.get_providers() or not (has_cuda or device == "cuda"):
        return session, ""
    why = "the GPU or its libraries cannot be used" if has_cuda else "this onnxruntime is made for the CPU alone"
    return session, f"reading on the CPU: {why} (docs/scaling.md)"


def usable_processors() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
