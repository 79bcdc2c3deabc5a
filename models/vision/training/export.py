"""Networks as ONNX graphs, so that what serves them needs no torch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.vision.training.backbone import Backbone

_OPSET = 17


def to_onnx(network: nn.Module, side: int, outputs: Sequence[str], *, any_size: bool = False) -> bytes:
    """Return a network as an ONNX graph with the input ``pictures`` (batch, 1, side, side) and named outputs.

    The batch may have any size; with ``any_size`` the pictures too.
    """
    axes: dict[str, dict[int, str]] = {name: {0: "batch"} for name in ("pictures", *outputs)}
    if any_size:
        axes = {name: {**known, 2: "height", 3: "width"} for name, known in axes.items()}
    was_training = network.training
    network.eval()
    buffer: Any = io.BytesIO()  # taken as well, though the exporter's types name paths alone
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter is called old by torch; the new one needs a package more, and gives the same graph here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 1, side, side),),
            buffer,
            dynamo=False,
            input_names=["pictures"],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=_OPSET,
        )
    network.train(was_training)
    graph: bytes = buffer.getvalue()
    return graph


class _Trunk(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictures: Tensor) -> Tensor:
        return self.backbone.trunk(pictures)


def trunk_session(backbone: Backbone, side: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from pictures (batch, 1, side, side) to the features of a backbone's frozen trunk."""
    if torch.cuda.is_available():
        backbone = backbone.to("cuda").eval()

        def on_gpu(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode():
                return backbone.trunk(torch.from_numpy(pictures).to("cuda")).float().cpu().numpy()

        return on_gpu
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    trunk = _Trunk(backbone)
    trunk.train(backbone.training)  # a new module trains, and the export puts back what it finds
    graph = to_onnx(trunk, side, ["features"])
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def on_cpu(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(["features"], {"pictures": np.ascontiguousarray(pictures, np.float32)})[0])

    return on_cpu
