"""The encoder as an ONNX graph, built by hand: every operation is known, and none of them looks across sentences.

The graph takes sentences of one length and no mask. With padding, or with the usual dynamic quantization (one scale
for a whole batch), what comes out for a sentence would depend on its batch mates, and neither a cached reading nor a
resumed run would be exact. Here int8 scales belong to one token's row (activations) and one output column (weights),
and the products are sums of integers, which have no rounding. Rows of a matrix do not meet elsewhere but in the
attention within one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]
Precision = Literal["float32", "int8"]
_OPSET = 20
_IR_VERSION = 10
_MICROSOFT = "com.microsoft"


class GraphBuilder:
    """Nodes and weights of a graph in the making; every method returns the name of what it computes."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._count = 0

    def weight(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant."""
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operation with one output."""
        self._count += 1
        output = f"{op.lower()}_{self._count}"
        self._nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def table(self, name: str, value: Floats, indices: str) -> str:
        """Return rows of a table, which int8 keeps with one scale a row."""
        if self.precision == "float32":
            return self.node("Gather", self.weight(name, value), indices)
        scale = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-8) / 127
        quantized = np.rint(value / scale).astype(np.int8)
        rows = self.node("Cast", self.node("Gather", self.weight(name, quantized), indices), to=TensorProto.FLOAT)
        scales = self.node("Gather", self.weight(f"{name}.scale", scale.astype(np.float32)), indices)
        return self.node("Mul", rows, scales)

    def quantize_rows(self, x: str) -> tuple[str, str]:
        """Return rows as unsigned integers around 128, and the scale of each row."""
        largest = self.node("ReduceMax", self.node("Abs", x), "last_axis", keepdims=1)
        scale = self.node("Mul", self.node("Max", largest, "tiny"), "one_127th")
        levels = self.node("Add", self.node("Round", self.node("Div", x, scale)), "zero_level")
        return self.node("Cast", levels, to=TensorProto.UINT8), scale

    def linear(self, name: str, x: str | tuple[str, str], weight: Floats, bias: Floats) -> str:
        """Return ``x @ weight.T + bias``; ``weight`` is (outputs, inputs), ``x`` rows or, for int8, quantized rows."""
        transposed = np.ascontiguousarray(weight.T)
        if self.precision == "float32":
            assert isinstance(x, str)
            product = self.node("MatMul", x, self.weight(name, transposed))
            return self.node("Add", product, self.weight(f"{name}.bias", bias))
        rows, row_scale = x if isinstance(x, tuple) else self.quantize_rows(x)
        scale = np.maximum(np.abs(transposed).max(axis=0), 1e-8) / 127  # (outputs,)
        quantized = np.rint(transposed / scale).astype(np.int8)
        product = self.node("MatMulInteger", rows, self.weight(name, quantized), "zero_point")
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        # One scale after the other: their product would be taken for the scale of a whole matrix and fused as such.
        scaled = self.node("Mul", product, self.weight(f"{name}.scale", scale.astype(np.float32)))
        scaled = self.node("Mul", scaled, row_scale)
        return self.node("Add", scaled, self.weight(f"{name}.bias", bias))

    def shared(self, x: str) -> str | tuple[str, str]:
        """Return rows in the form `linear` takes, quantized once for several products."""
        return x if self.precision == "float32" else self.quantize_rows(x)

    def norm(self, name: str, x: str, gain: Floats, shift: Floats, epsilon: float) -> str:
        """Return rows with mean zero and variance one, scaled and shifted."""
        return self.node(
            "LayerNormalization",
            x,
            self.weight(f"{name}.gain", gain),
            self.weight(f"{name}.shift", shift),
            axis=-1,
            epsilon=epsilon,
        )

    def model(self, outputs: Mapping[str, tuple[str, list[str | int | None]]]) -> onnx.ModelProto:
        """Return the model; ``outputs`` maps the name of each output to what gives it and to its shape."""
        for name, (source, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [source], [name]))
        graph = helper.make_graph(
            self._nodes,
            "radlabel",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, (_, shape) in outputs.items()],
            self._weights,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
            ir_version=_IR_VERSION,
            producer_name="radlabel",
        )
        onnx.checker.check_model(model)
        return model


def build_graph(
    weights: Mapping[str, Floats], *, n_heads: int, epsilon: float, attention_scale: float, precision: Precision
) -> onnx.ModelProto:
    """Return the graph of a `ReportEncoder` with the weights of its ``state_dict``.

    Input ``ids`` (batch, tokens), sentences of one length; outputs ``rows`` (batch, tokens, `Layout.width`) and
    ``scores`` (batch, labels, 2) as in `ReportEncoder`.
    """
    b = GraphBuilder(precision)
    b.weight("last_axis", np.array([-1], dtype=np.int64))
    b.weight("tiny", np.float32(1e-8).reshape(1))
    b.weight("one_127th", np.float32(1 / 127).reshape(1))
    b.weight("zero_level", np.float32(128).reshape(1))
    b.weight("zero_point", np.array(128, dtype=np.uint8))
    w = {name.removeprefix("bert."): np.asarray(value, dtype=np.float32) for name, value in weights.items()}
    words = b.table("words", w["embeddings.word_embeddings.weight"], "ids")
    positions = w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][0]
    length = b.node("Shape", "ids", start=1, end=2)
    b.weight("zero", np.array([0], dtype=np.int64))
    place = b.node("Slice", b.weight("positions", positions), "zero", length, "zero")
    x = b.node("Add", words, place)
    x = b.norm("embeddings", x, *_norm(w, "embeddings.LayerNorm"), epsilon)
    layer = 0
    while f"encoder.layer.{layer}.attention.self.query.weight" in w:
        x = _layer(b, w, layer, x, n_heads, epsilon)
        layer += 1
    shared = b.shared(x)
    rows = b.linear("token_head", shared, w["token_head.weight"], w["token_head.bias"])
    labels = np.concatenate([w["label_query"] * attention_scale, w["label_value"]])
    # The labels' scores stay in floating point: exp() makes much of small differences.
    both = b.node("MatMul", x, b.weight("labels", np.ascontiguousarray(labels.T)))
    n = len(w["label_query"])
    b.weight("label_sizes", np.array([n, n], dtype=np.int64))
    strength, value = _split(b, both, "label_sizes")
    total = b.node("ReduceLogSumExp", strength, b.weight("token_axis", np.array([1], dtype=np.int64)), keepdims=1)
    attention = b.node("Exp", b.node("Sub", strength, total))
    logit = b.node("ReduceSum", b.node("Mul", attention, value), "token_axis", keepdims=1)
    scores = b.node("Transpose", b.node("Concat", total, logit, axis=1), perm=[0, 2, 1])
    return b.model(
        {
            "rows": (rows, ["batch", "tokens", len(w["token_head.bias"])]),
            "scores": (scores, ["batch", n, 2]),
        }
    )


def _split(b: GraphBuilder, x: str, sizes: str) -> tuple[str, str]:
    first, second = f"{x}_first", f"{x}_second"
    b._nodes.append(helper.make_node("Split", [x, sizes], [first, second], axis=-1))
    return first, second


def _norm(w: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    return w[f"{name}.weight"], w[f"{name}.bias"]


def _layer(b: GraphBuilder, w: Mapping[str, Floats], number: int, x: str, n_heads: int, epsilon: float) -> str:
    prefix = f"encoder.layer.{number}"
    parts = [f"{prefix}.attention.self.{name}" for name in ("query", "key", "value")]
    weight = np.concatenate([w[f"{part}.weight"] for part in parts])
    bias = np.concatenate([w[f"{part}.bias"] for part in parts])
    size = len(bias) // 3
    both = b.linear(f"{prefix}.qkv", x, weight, bias)
    sizes = b.weight(f"{prefix}.sizes", np.array([size, size, size], dtype=np.int64))
    query, key, value = (f"{prefix}.{name}" for name in ("query", "key", "value"))
    b._nodes.append(helper.make_node("Split", [both, sizes], [query, key, value], axis=-1))
    mixed = b.node("MultiHeadAttention", query, key, value, domain=_MICROSOFT, num_heads=n_heads)
    name = f"{prefix}.attention.output"
    projected = b.linear(f"{name}.dense", mixed, w[f"{name}.dense.weight"], w[f"{name}.dense.bias"])
    x = b.norm(name, b.node("Add", x, projected), *_norm(w, f"{name}.LayerNorm"), epsilon)
    name = f"{prefix}.intermediate.dense"
    inner = b.node("Gelu", b.linear(name, x, w[f"{name}.weight"], w[f"{name}.bias"]), approximate="none")
    name = f"{prefix}.output"
    outer = b.linear(f"{name}.dense", inner, w[f"{name}.dense.weight"], w[f"{name}.dense.bias"])
    return b.norm(name, b.node("Add", x, outer), *_norm(w, f"{name}.LayerNorm"), epsilon)
