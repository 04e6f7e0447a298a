"""Networks of table structure: maps, when decoding stops, and cached decoding."""

from __future__ import annotations

import pytest
import torch

from architectures import build, fuse
from architectures.backbones.det_pp_lcnet import PPLCNetMaps
from architectures.backbones.table_master_resnet import GlobalContext, TableResNetExtra
from architectures.heads.table_att_head import SLAHead, TableAttentionHead
from architectures.heads.table_master_head import EOS, PAD, SOS, TableMasterHead
from architectures.joining import join_
from architectures.layers.attention import Cache
from architectures.necks.csp_pan import CSPPAN
from tests.support.seeded_values import seeded

SLANET = {
    "model_type": "table",
    "Backbone": {"name": "PPLCNet", "scale": 0.25},
    "Neck": {"name": "CSPPAN", "out_channels": 8},
    "Head": {"name": "SLAHead", "hidden_size": 8, "max_text_length": 5, "out_channels": 7},
}
SLANET_V2 = {**SLANET, "Backbone": {"name": "PPLCNetV2_base"}}


@pytest.mark.parametrize("config", [SLANET, SLANET_V2], ids=["lcnet", "lcnetv2"])
@torch.inference_mode()
def test_every_form_computes_the_same(config):
    network = seeded(build(config))
    image = torch.rand(2, 3, 64, 96)
    expected = network(image)
    assert list(expected) == ["loc_preds", "structure_probs"]
    assert expected["structure_probs"].shape == (2, 6, 7)
    assert expected["loc_preds"].shape == (2, 6, 4)
    for form in ("deploy", "fused"):
        for name, result in fuse(network, form)(image).items():
            assert torch.allclose(result, expected[name], atol=1e-5), (form, name)
    joined = fuse(network)
    join_(joined)
    assert joined.head.deferred
    for name, result in joined(image).items():
        assert torch.allclose(result, expected[name], atol=1e-5), name


def test_maps_of_pp_lcnet():
    backbone = PPLCNetMaps(scale=0.5)
    maps = backbone.eval()(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (1, width, 64 // n, 96 // n)
        for width, n in zip(backbone.out_channels, (4, 8, 16, 32), strict=True)
    ]


def test_an_extra_map_of_csp_pan():
    neck = CSPPAN([4, 8, 16], 8, num_features=4).eval()
    maps = neck([torch.rand(1, c, s, s) for c, s in ((4, 16), (8, 8), (16, 4))])
    assert [m.shape[2] for m in maps] == [16, 8, 4, 2]
    with pytest.raises(ValueError, match="makes 3 or 4 maps, not 6"):
        CSPPAN([4, 8, 16], 8, num_features=6)


class Scripted(torch.nn.Module):
    """Gives one-hot scores of a script of tokens, row by row, step by step."""

    def __init__(self, script: list[list[int]], classes: int) -> None:
        super().__init__()
        self.script, self.classes, self.step = torch.tensor(script), classes, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.script[:, self.step : self.step + 1]
        self.step += 1
        scores = torch.nn.functional.one_hot(tokens[:, 0], self.classes).float()
        return scores[:, None] if x.dim() == 3 else scores


def test_slanet_stops_when_every_image_has_its_end():
    head = SLAHead([4], 8, out_channels=7, max_text_length=9).eval()
    head.structure_generator = Scripted([[1, 6, 2, 3, 1, 1], [2, 3, 1, 6, 1, 1]], 7)
    result = head([torch.rand(2, 4, 2, 3)])
    assert result["structure_probs"].argmax(2).tolist() == [[1, 6, 2, 3], [2, 3, 1, 6]]
    assert result["loc_preds"].shape == (2, 4, 4)


def test_edd_always_decodes_to_the_end():
    head = TableAttentionHead([4], 8, out_channels=7, max_text_length=3).eval()
    result = head([torch.rand(2, 4, 16, 16)])
    assert result["structure_probs"].shape == (2, 4, 7)
    assert result["loc_preds"].shape == (2, 4, 4)


def test_cross_attention_is_refused():
    with pytest.raises(ValueError, match="use_attn is not mirrored"):
        SLAHead([4], 8, use_attn=True)


class TestTableMaster:
    @staticmethod
    def head(**options) -> TableMasterHead:
        torch.manual_seed(1)
        return TableMasterHead([16], 9, headers=2, d_ff=8, **options).eval()

    @torch.inference_mode()
    def test_cached_steps_equal_the_whole_sequence(self):
        head = self.head(max_text_length=6)
        features = [torch.rand(2, 16, 3, 4)]
        result = head(features)
        memory = features[0].flatten(2).transpose(1, 2)
        tokens = torch.tensor([[6, 1, 2, 3], [6, 5, 4, 0]])
        memories = [layer.src_attn.keys_values(memory) for layer in head._all_layers()]
        whole = head._decode(tokens, [Cache(m) for m in memories])
        caches = [Cache(m) for m in memories]
        steps = [head._decode(tokens[:, : n + 1], caches, n) for n in range(4)]
        for place in (0, 1):
            stepwise = torch.cat([step[place] for step in steps], 1)
            assert torch.allclose(stepwise, whole[place], atol=1e-6)
        assert result["structure_probs"].shape[1] <= 7

    def test_it_stops_when_every_image_has_its_end(self):
        head = self.head(max_text_length=9)
        end = 9 - EOS
        head.cls_fc = Scripted([[1, end, 2, 3, 1], [2, 3, end, 1, 1]], 9)
        result = head([torch.rand(2, 16, 3, 4)])
        assert result["structure_probs"].shape == (2, 3, 9)

    @torch.inference_mode()
    def test_a_padding_token_sees_all_tokens_equally(self):
        head = self.head()
        tokens = torch.tensor([[6, 9 - PAD, 2]])
        seen = head._seen(tokens)[0, 0].tolist()
        assert seen == [[True, False, False], [False] * 3, [True] * 3]
        attention = head.layers[0].self_attn
        x = torch.rand(1, 3, 16)
        mixed = attention(x, attention.keys_values(x), head._seen(tokens))
        mean = attention.linears[3](attention.linears[2](x).mean(1))
        assert torch.allclose(mixed[0, 1], mean[0], atol=1e-6)

    @torch.inference_mode()
    def test_after_a_padding_token_the_sequence_is_decoded_anew(self):
        head = self.head(max_text_length=4)
        decode, lengths = head._decode, []

        def counted(tokens, caches, start=0):
            lengths.append(tokens.shape[1] - start)
            logits, boxes = decode(tokens, caches, start)
            if tokens.shape[1] == 2:
                logits[:, -1] = torch.nn.functional.one_hot(torch.tensor(9 - PAD), 9).float()
            else:
                logits[:, -1] = torch.nn.functional.one_hot(torch.tensor(1), 9).float()
            return logits, boxes

        head._decode = counted
        result = head([torch.rand(1, 16, 3, 4)])
        assert lengths == [1, 1, 3, 4, 5]
        assert result["loc_preds"].shape == (1, 5, 4)

    @torch.inference_mode()
    def test_traced_for_one_token_it_has_one_position_and_no_mask(self):
        head = self.head(max_text_length=3)
        tokens = torch.tensor([[9 - SOS, 4, 2]])
        features = torch.rand(1, 16, 3, 4)
        head.traced_for_one = True
        memories = head.image_keys_values([features])
        logits, boxes = head.decode_tokens(memories, tokens)
        turned, _ = head.decode_tokens(memories, tokens[:, [0, 2, 1]])
        assert torch.allclose(logits[:, [0, 2, 1]], turned, atol=1e-6)  # no order, no mask
        position = torch.tensor([0.0, 1.0]).repeat(8)  # the sines and cosines of position 0
        x = head.embedding(tokens) + position
        everything = torch.ones(1, 1, 3, 3, dtype=torch.bool)
        layers = head._all_layers()
        for layer, memory in zip(layers[:2], memories[:2], strict=True):
            x = layer(x, Cache(memory), everything)
        expected = head.bbox_fc(head.norm(layers[3](x, Cache(memories[3]), everything)))
        assert torch.allclose(boxes, expected, atol=1e-6)
        assert torch.equal(
            head([features])["loc_preds"], head.decode_again([features], 4)["loc_preds"]
        )


def test_the_backbone_of_table_master():
    config = {"ratio": 0.0625, "headers": 1, "fusion_type": "channel_add", "layers": [0, 1, 1, 1]}
    backbone = TableResNetExtra(layers=[1, 1, 1, 1], gcb_config=config).eval()
    shapes = [tuple(m.shape) for m in backbone(torch.rand(1, 3, 32, 48))]
    assert shapes == [(1, 256, 16, 24), (1, 256, 8, 12), (1, 512, 4, 6)]
    contexts = [name for name, m in backbone.named_modules() if isinstance(m, GlobalContext)]
    assert contexts == [f"layer{n}.0.context_block" for n in (2, 3, 4)]
    with pytest.raises(ValueError, match="known: channel_add, channel_mul"):
        GlobalContext(16, 0.5, 1, "channel_concat")
    with pytest.raises(ValueError, match="takes four stages"):
        TableResNetExtra(layers=[1, 2])
