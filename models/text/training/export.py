"""Writes a trained encoder as a model folder: whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from corpora.vocabulary import Vocabulary
from models.text.encoder.engine import summarize
from models.text.encoder.folder import CONFORMANCE, GRAPH, MANIFEST, TOKENIZER, Manifest, file_digest
from models.text.encoder.layout import Layout
from models.text.encoder.readout import LabelCalibration
from models.text.encoder.runtime import EncoderSentenceReader
from models.text.encoder.session import OnnxNetwork
from models.text.encoder.tokens import BEGIN, END, MASK, PAD, SECTION_TOKENS, UNKNOWN, SentenceTokenizer
from models.text.sentence_reader import Sentence
from models.text.training.graph import Precision, build_graph
from models.text.training.model_place import check_place, put_in_place
from models.text.training.network import ATTENTION_SCALE, ReportEncoder

NAME = "radlabel-encoder"
_PART_BYTES = 15_000_000  # a file under 16 MB


def network_graph(network: ReportEncoder, precision: Precision) -> bytes:
    """Return the ONNX graph of a network."""
    config = network.bert.config
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    model = build_graph(
        weights,
        n_heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
        attention_scale=ATTENTION_SCALE,
        precision=precision,
    )
    data: bytes = model.SerializeToString()
    return data


def write_model(
    folder: Path,
    network: ReportEncoder,
    tokenizer_json: str,
    vocabulary: Vocabulary,
    calibration: Sequence[LabelCalibration],
    *,
    version: str,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    card: str,
    conformance: Sequence[Sentence] = (),
) -> Manifest:
    """Write a model folder and return its manifest. A model that is there is replaced when the new one is complete.

    The graph is int8; what its conformance test expects is what it reads here and now. Without ``conformance`` there is
    no graph: a model to train on from, and not to serve.

    Raises:
        FolderTaken: there is something else than a model.
    """
    folder = Path(os.path.realpath(folder))  # a link stays a link: what it leads to is replaced
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (building / TOKENIZER).write_text(tokenizer_json, "utf-8")
        (building / "tokenizer_config.json").write_text(json.dumps(_tokenizer_config(), indent=2) + "\n", "utf-8")
        network.bert.config.to_json_file(building / "config.json")
        _write_weights(building, network)
        if conformance:
            (building / GRAPH).write_bytes(network_graph(network, "int8"))
            (building / CONFORMANCE).write_text(
                _conformance(building, network.layout, vocabulary, conformance) + "\n", "utf-8"
            )
        (building / "README.md").write_text(card, "utf-8")
        manifest = Manifest(
            name=NAME,
            version=version,
            layout=network.layout,
            calibration=tuple(calibration),
            vocabulary_digest=vocabulary.digest,
            digests={path.name: file_digest(path) for path in sorted(building.iterdir()) if path.name != "README.md"},
            training=dict(training),
            metrics=dict(metrics),
        )
        (building / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
        building.chmod(0o755)
        put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def load_network(folder: Path, layout: Layout) -> ReportEncoder:
    """Return the network of a model folder, with the heads of ``layout``.

    Rows of heads are taken over by name: a concept or label that the model knows keeps its weights, a new one starts as
    in a new network.
    """
    from transformers import BertConfig

    from models.text.encoder.folder import read_manifest

    index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
    files = sorted(set(index["weight_map"].values()))
    manifest = read_manifest(folder, files=[*files, TOKENIZER, "config.json"])
    state: dict[str, torch.Tensor] = {}
    for name in files:
        state.update({key: value.float() for key, value in load_file(folder / name).items()})
    network = ReportEncoder(BertConfig.from_pretrained(folder / "config.json"), layout)
    old = manifest.layout
    fresh = network.state_dict()
    if old != layout:
        rows = _matching_rows(old, layout)
        for name in ("token_head.weight", "token_head.bias"):
            state[name] = _taken_over(state[name], fresh[name], rows)
        labels = [(layout.label_index[n], i) for n, i in old.label_index.items() if n in layout.label_index]
        for name in ("label_query", "label_value", "label_bias"):
            state[name] = _taken_over(state[name], fresh[name], labels)
    network.load_state_dict(state)
    return network


def _matching_rows(old: Layout, new: Layout) -> list[tuple[int, int]]:
    """Return pairs of (row in the new token head, row in the old one) that mean the same."""
    names = {
        "concept": (old.concepts, new.concepts),
        "laterality": (("", *old.lateralities), ("", *new.lateralities)),
        "severity": (("", *old.severities), ("", *new.severities)),
        "temporality": (("", *old.temporalities), ("", *new.temporalities)),
        "place": (old.places, new.places),
    }
    pairs = []
    for head, columns in new.heads.items():
        if head in names:
            before, after = names[head]
            place = {name: i for i, name in enumerate(after)}
            pairs += [
                (columns.start + place[name], old.heads[head].start + i)
                for i, name in enumerate(before)
                if name in place
            ]
            if head == "concept":
                pairs.append((columns.stop - 1, old.heads[head].stop - 1))
        else:
            pairs += [(columns.start + i, old.heads[head].start + i) for i in range(columns.stop - columns.start)]
    return pairs


def _taken_over(old: torch.Tensor, fresh: torch.Tensor, rows: Sequence[tuple[int, int]]) -> torch.Tensor:
    value = fresh.clone()
    for new_row, old_row in rows:
        value[new_row] = old[old_row]
    return value


def _write_weights(folder: Path, network: ReportEncoder) -> None:
    """Write the weights in half precision, in parts of less than 16 MB, with the index that joins them."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, value in network.state_dict().items():
        half = value.detach().half().contiguous().cpu() if value.is_floating_point() else value.cpu()
        n_bytes = half.numel() * half.element_size()
        if parts[-1] and size + n_bytes > _PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = half
        size += n_bytes
    weight_map: dict[str, str] = {}
    total = 0
    for i, part in enumerate(parts, 1):
        file = f"model-{i:05d}-of-{len(parts):05d}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
        total += sum(v.numel() * v.element_size() for v in part.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "cls_token": BEGIN,
        "sep_token": END,
        "mask_token": MASK,
        "additional_special_tokens": list(SECTION_TOKENS),
    }


def _conformance(folder: Path, layout: Layout, vocabulary: Vocabulary, sentences: Sequence[Sentence]) -> str:
    reader = EncoderSentenceReader(
        OnnxNetwork(folder / GRAPH, threads=1),
        layout,
        SentenceTokenizer.load(folder / TOKENIZER, vocabulary),
        vocabulary,
        cache_size=0,
    )
    known = frozenset(layout.concepts)
    cases = [
        {
            "text": sentence.text,
            "heading": sentence.heading,
            "antecedents": list(sentence.antecedents),
            "section": sentence.section,
            "findings": summarize(reading, known),
        }
        for sentence, reading in zip(sentences, reader.read_alone(sentences), strict=True)
    ]
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"


def quantization_error(network: ReportEncoder, ids: np.ndarray) -> float:
    """Return the largest difference between the scores of the int8 and the fp32 graph on a batch (batch, tokens)."""
    whole = OnnxNetwork(network_graph(network, "float32")).run(ids)[1]
    small = OnnxNetwork(network_graph(network, "int8")).run(ids)[1]
    return float(np.abs(whole - small).max())
