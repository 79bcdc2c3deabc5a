"""What the encoder runs on: a GPU where one can be used, else the CPU; and work ahead of a device changes nothing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from corpora.semantics import load_cases
from corpora.vocabulary import load_vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import GRAPH, TOKENIZER, shipped_model
from models.text.encoder.runtime import EncoderSentenceReader
from models.text.encoder.session import CUDA, OnnxNetwork
from models.text.encoder.tokens import SentenceTokenizer
from models.text.sentence_reader import Sentence

onnxruntime = pytest.importorskip("onnxruntime")
HAS_CUDA = CUDA in onnxruntime.get_available_providers()


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime knows GPUs")
@pytest.mark.parametrize(
    ("device", "remark"), [("cuda", "this onnxruntime is made for the CPU alone"), ("auto", ""), ("cpu", "")]
)
def test_without_a_gpu_it_is_the_cpu_and_who_asked_for_one_is_told(device: str, remark: str) -> None:
    network = OnnxNetwork(shipped_model() / GRAPH, threads=1, device=device)
    assert network.device == "cpu"
    assert remark in network.remark
    assert bool(network.remark) == bool(remark)
    network.run(np.array([[1, 5, 6, 2]], np.int64))
    assert network.busy_s > 0


class BrokenCuda:
    """An onnxruntime that lists CUDA and cannot use it, as where the driver or a library is missing.

    Depending on what is missing, a session is refused or is made on the CPU: both are seen in the field.
    """

    def __init__(self, refuses: bool) -> None:
        self.SessionOptions = onnxruntime.SessionOptions
        self._refuses = refuses

    def get_available_providers(self) -> list[str]:
        return [CUDA, "CPUExecutionProvider"]

    def InferenceSession(self, source: str, options: Any, providers: list[str]) -> Any:  # noqa: N802 - onnxruntime's
        if CUDA in providers and self._refuses:
            raise RuntimeError("libcudart.so: cannot open shared object file")
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_gpu_that_cannot_be_used_is_said_so(monkeypatch: pytest.MonkeyPatch, refuses: bool, device: str) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", BrokenCuda(refuses))
    network = OnnxNetwork(shipped_model() / GRAPH, threads=1, device=device)
    assert network.device == "cpu"
    assert network.remark.startswith("reading on the CPU: the GPU or its libraries cannot be used")


def test_device_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="one of auto, cpu, cuda"):
        OnnxNetwork(shipped_model() / GRAPH, device="tpu")


def test_word_pieces_cut_ahead_give_the_same_readings() -> None:
    vocabulary = load_vocabulary()
    reader = EncoderReader(shipped_model(), vocabulary, threads=1, cache_size=0)
    ahead = EncoderSentenceReader(
        reader.network,
        reader.manifest.layout,
        SentenceTokenizer.load(shipped_model() / TOKENIZER, vocabulary),
        vocabulary,
        cache_size=0,
        ahead=7,
    )
    sentences = [Sentence(case.text, section="findings") for case in load_cases()][:60]
    assert len(sentences) > 7 * 3
    for first, second in zip(reader.read_sentences(sentences), ahead.read_many(sentences), strict=True):
        assert repr(first) == repr(second)


@pytest.mark.skipif(not HAS_CUDA, reason="needs an NVIDIA GPU and onnxruntime-gpu")
def test_gpu_reads_as_the_cpu_does() -> None:
    vocabulary = load_vocabulary()
    on_gpu = EncoderReader(shipped_model(), vocabulary, device="cuda")
    if on_gpu.network.device != "cuda":
        pytest.skip(on_gpu.network.remark)
    on_cpu = EncoderReader(shipped_model(), vocabulary, device="cpu")
    sentences = [Sentence(case.text, section="findings") for case in load_cases()]
    for first, second in zip(on_gpu.read_sentences(sentences), on_cpu.read_sentences(sentences), strict=True):
        assert [f.concept_id for f in first.findings] == [f.concept_id for f in second.findings]
