"""Networks of few channels, quick to build and to run."""

from __future__ import annotations

from typing import Any

CRNN: dict[str, Any] = {
    "model_type": "rec",
    "Backbone": {
        "name": "MobileNetV3",
        "scale": 0.35,
        "model_name": "small",
        "small_stride": [1, 2, 2, 2],
    },
    "Neck": {"name": "SequenceEncoder", "encoder_type": "rnn", "hidden_size": 8},
    "Head": {"name": "CTCHead"},
}

DB = {"name": "DBHead"}
SVTR = {"name": "svtr", "dims": 16, "hidden_dims": 16, "num_heads": 2, "kernel_size": [1, 3]}
TRANSFORMER = {"n_head": 2, "d_k": 8, "d_v": 8, "d_model": 16, "d_inner": 24}
SVTR_V6 = {"name": "lightsvtr", "dims": 16, "num_heads": 2}


def _rec_v6(neck: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "rec",
        "Backbone": {"name": "PPLCNetV4", "model_size": "tiny"},
        "Head": {
            "name": "MultiHead",
            "head_list": [{"CTCHead": {"Neck": neck, "Head": head}}],
            "out_channels_list": {"CTCLabelDecode": 7},
        },
    }


# name: architecture, size of the image
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "det v4": (
        {
            "model_type": "det",
            "Backbone": {"name": "PPLCNetV3", "scale": 0.25, "conv_kxk_num": 2, "det": True},
            "Neck": {"name": "RSEFPN", "out_channels": 16},
            "Head": DB,
        },
        (64, 96),
    ),
    "rec v4": (
        {
            "model_type": "rec",
            "Backbone": {"name": "PPLCNetV3", "scale": 0.25, "conv_kxk_num": 2},
            "Head": {
                "name": "MultiHead",
                "head_list": [{"CTCHead": {"Neck": SVTR, "Head": {}}}],
                "out_channels_list": {"CTCLabelDecode": 7},
            },
        },
        (48, 64),
    ),
    "cls": (
        {
            "model_type": "cls",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Head": {"name": "ClsHead", "class_dim": 2},
        },
        (48, 64),
    ),
    "pplcnet": (
        {
            "model_type": "cls",
            "Backbone": {"name": "PPLCNet", "scale": 0.25, "class_expand": 16},
            "Head": {"name": "ClsHead", "class_dim": 2},
        },
        (64, 64),
    ),
    "det v2": (
        {
            "model_type": "det",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "large"},
            "Neck": {"name": "DBFPN", "out_channels": 16},
            "Head": DB,
        },
        (64, 96),
    ),
    "det large kernels": (
        {
            "model_type": "det",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Neck": {"name": "LKPAN", "out_channels": 16, "mode": "lite", "intracl": True},
            "Head": {"name": "PFHeadLocal"},
        },
        (64, 64),
    ),
    "rec v3": (
        {
            "model_type": "rec",
            "Backbone": {
                "name": "MobileNetV1Enhance",
                "scale": 0.25,
                "last_conv_stride": [1, 2],
                "last_pool_type": "avg",
                "last_pool_kernel_size": [2, 2],
            },
            "Head": {
                "name": "MultiHead",
                "head_list": [{"CTCHead": {"Neck": SVTR, "Head": {}}}, {"SARHead": {}}],
                "out_channels_list": {"CTCLabelDecode": 7},
            },
        },
        (48, 64),
    ),
    "resnet": (
        {
            "model_type": "rec",
            "Backbone": {"name": "ResNet", "layers": 18},
            "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
            "Head": {"name": "CTCHead", "out_channels": 7},
        },
        (32, 32),
    ),
    "svtr": (
        {
            "model_type": "rec",
            "Backbone": {
                "name": "SVTRNet",
                "img_size": [48, 32],
                "embed_dim": [8, 16, 24],
                "depth": [1, 1, 1],
                "num_heads": [2, 2, 2],
                "mixer": ["Conv", "Local", "Global"],
                "out_channels": 24,
                "last_stage": False,
            },
            "Head": {
                "name": "MultiHead",
                "use_pool": True,
                "head_list": [{"CTCHead": {"Neck": SVTR, "Head": {}}}, {"NRTRHead": {}}],
                "out_channels_list": {"CTCLabelDecode": 7},
            },
        },
        (48, 32),
    ),
    "det v6 small": (
        {
            "model_type": "det",
            "Backbone": {"name": "PPLCNetV4", "det": True, "model_size": "tiny"},
            "Neck": {"name": "RepLKFPN", "out_channels": 16},
            "Head": {**DB, "aux_in_channels": 16},
        },
        (64, 96),
    ),
    "det v6 medium": (
        {
            "model_type": "det",
            "Backbone": {"name": "PPLCNetV4", "det": True, "model_size": "tiny"},
            "Neck": {"name": "RepLKPAN", "out_channels": 16, "intracl": True},
            "Head": {**DB, "aux_in_channels": 16},
        },
        (64, 96),
    ),
    "det repsvtr": (
        {
            "model_type": "det",
            "Backbone": {"name": "RepSVTR_det"},
            "Neck": {"name": "RSEFPN", "out_channels": 16},
            "Head": DB,
        },
        (64, 96),
    ),
    "east": (
        {
            "model_type": "det",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Neck": {"name": "EASTFPN", "model_name": "small"},
            "Head": {"name": "EASTHead", "model_name": "small"},
        },
        (64, 96),
    ),
    "pse": (
        {
            "model_type": "det",
            "Backbone": {"name": "MobileNetV3", "scale": 0.35, "model_name": "small"},
            "Neck": {"name": "FPN", "out_channels": 8},
            "Head": {"name": "PSEHead", "hidden_dim": 8},
        },
        (64, 96),
    ),
    "rec v6 tiny": (_rec_v6({"name": "reshape"}, {"mid_channels": 8, "use_guide": True}), (48, 64)),
    "rec v6 small": (_rec_v6({**SVTR_V6, "depth": 2}, {}), (48, 64)),
    "det ++": (
        {
            "model_type": "det",
            "Backbone": {"name": "ResNet", "layers": 18},
            "Neck": {"name": "DBFPN", "out_channels": 16, "use_asf": True},
            "Head": DB,
        },
        (64, 64),
    ),
    "fce": (
        {
            "model_type": "det",
            "Backbone": {"name": "ResNet_vd", "layers": 18, "out_indices": [1, 2, 3]},
            "Neck": {"name": "FCEFPN", "out_channels": 8, "extra_stage": 0},
            "Head": {"name": "FCEHead", "fourier_degree": 2},
        },
        (64, 64),
    ),
    "ct": (
        {
            "model_type": "det",
            "Backbone": {"name": "ResNet_vd", "layers": 18},
            "Neck": {"name": "CTFPN"},
            "Head": {"name": "CT_Head", "hidden_dim": 8, "num_classes": 3},
        },
        (64, 64),
    ),
    "pren": (
        {
            "model_type": "rec",
            "Backbone": {"name": "EfficientNetb3_PREN"},
            "Neck": {"name": "PRENFPN", "n_r": 2, "d_model": 24, "max_len": 4},
            "Head": {"name": "PRENHead", "out_channels": 7},
        },
        (64, 64),
    ),
    "abinet": (
        {
            "model_type": "rec",
            "Backbone": {"name": "ResNet45", "layers": [1] * 5},
            "Head": {
                "name": "ABINetHead",
                "out_channels": 7,
                "num_layers": 1,
                "dim_feedforward": 32,
                "max_length": 4,
                "use_lang": True,
                "iter_size": 2,
                "image_size": [32, 64],
            },
        },
        (32, 64),
    ),
    "visionlan": (
        {
            "model_type": "rec",
            "Backbone": {"name": "ResNet45", "layers": [1] * 5, "strides": [2, 2, 2, 1, 1]},
            "Head": {
                "name": "VLHead",
                "out_channels": 7,
                "n_layers": 1,
                "n_position": 32,
                "max_text_length": 4,
            },
        },
        (32, 64),
    ),
    "satrn": (
        {
            "model_type": "rec",
            "Backbone": {"name": "ShallowCNN", "hidden_dim": 16},
            "Head": {
                "name": "SATRNHead",
                "out_channels": 7,
                "enc_cfg": {**TRANSFORMER, "n_layers": 2},
                "dec_cfg": {
                    **TRANSFORMER,
                    "n_layers": 2,
                    "d_embedding": 16,
                    "max_seq_len": 4,
                    "start_idx": 5,
                    "padding_idx": 6,
                },
            },
        },
        (16, 32),
    ),
    "tsrn": (
        {
            "model_type": "sr",
            "Transform": {"name": "TSRN", "srb_nums": 3, "hidden_units": 2},
        },
        (8, 16),
    ),
    "formula": (
        {
            "model_type": "rec",
            "Backbone": {"name": "PPHGNetV2_B4_Formula", "width": 0.125},
            "Head": {
                "name": "PPFormulaNet_Head",
                "max_new_tokens": 3,
                "encoder_hidden_size": 256,
                "decoder_hidden_size": 16,
                "decoder_ffn_dim": 16,
                "decoder_layers": 1,
                "use_parallel": True,
                "vocab_size": 9,
            },
        },
        (64, 64),
    ),
    "crnn": ({**CRNN, "Head": {"name": "CTCHead", "out_channels": 7}}, (32, 64)),
    "star-net": (
        {
            **CRNN,
            "Transform": {"name": "TPS", "num_fiducial": 6, "model_name": "small"},
            "Head": {"name": "CTCHead", "out_channels": 7},
        },
        (32, 64),
    ),
    "rare": (
        {**CRNN, "Head": {"name": "AttentionHead", "hidden_size": 8, "out_channels": 7}},
        (32, 64),
    ),
    "svtrv2": (
        {
            "model_type": "rec",
            "Backbone": {
                "name": "SVTRv2",
                "dims": [8, 16, 24],
                "depths": [1, 2, 1],
                "num_heads": [2, 2, 2],
                "mixer": [["Conv"], ["Conv", "Global"], ["Global"]],
                "sub_k": [[2, 1], [2, 1], [-1, -1]],
                "use_pool": True,
            },
            "Head": {
                "name": "MultiHead",
                "head_list": [{"CTCHead": {"Neck": SVTR, "Head": {}}}, {"NRTRHead": {}}],
                "out_channels_list": {"CTCLabelDecode": 7},
            },
        },
        (48, 64),
    ),
    "rec repsvtr": (
        {
            "model_type": "rec",
            "Backbone": {"name": "RepSVTR"},
            "Head": {
                "name": "MultiHead",
                "head_list": [{"CTCHead": {"Neck": SVTR, "Head": {}}}, {"NRTRHead": {}}],
                "out_channels_list": {"CTCLabelDecode": 7},
            },
        },
        (48, 64),
    ),
    "svtr stn": (
        {
            "model_type": "rec",
            "Transform": {
                "name": "STN_ON",
                "tps_inputsize": [32, 64],
                "tps_outputsize": [16, 32],
                "num_control_points": 6,
                "tps_margins": [0.05, 0.05],
                "stn_activation": "none",
            },
            "Backbone": {
                "name": "SVTRNet",
                "img_size": [16, 32],
                "embed_dim": [8, 16, 24],
                "depth": [1, 1, 1],
                "num_heads": [2, 2, 2],
                "mixer": ["Local", "Local", "Global"],
                "out_channels": 24,
                "out_char_num": 8,
                "prenorm": False,
            },
            "Neck": {"name": "SequenceEncoder", "encoder_type": "reshape"},
            "Head": {"name": "CTCHead", "out_channels": 7},
        },
        (48, 64),
    ),
}
