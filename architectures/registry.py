"""The classes here that mirror PaddleOCR's, under its names, and `build`, which composes them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from torch import nn

from architectures.interfaces import FeatureExtractor
from architectures.model import Model
from architectures.reparameterize import fuse_


class UnknownArchitecture(ValueError):
    """The configuration asks for a network or an option that is not mirrored here."""


class Row(NamedTuple):
    """One network: the model types that use it, PaddleOCR's name, its class.

    `training` names the options that inference does not read; `counts` says which option holds a
    class count, dots between levels; `scored` is how many classes the network scores beyond that
    count, below 0 where it never answers with the last ones, such as the padding.
    """

    model_types: str
    name: str
    target: str
    training: str = ""
    counts: Mapping[str, str] = {}
    scored: int = 0


# How PaddleOCR's mBART would sample, had it the code for it; the likeliest token is taken.
MBART = "decoder_start_token_id temperature do_sample top_p"

# fmt: off
TABLE: dict[str, tuple[Row, ...]] = {
    #   model types name               class
    "Transform": (
        Row("rec",      "TPS",             "transforms.tps:TPS",
            training="loc_lr"),
        Row("rec",      "STN_ON",          "transforms.stn:STN_ON"),
        Row("rec",      "GA_SPIN",         "transforms.gaspin_transformer:GA_SPIN_Transformer",
            training="loc_lr"),
        Row("sr",       "TSRN",            "transforms.tsrn:TSRN",
            training="STN infer_mode width height"),
        Row("sr",       "TBSRN",           "transforms.tbsrn:TBSRN",
            training="STN infer_mode width height"),
        Row("unwarp",   "UVDoc",           "transforms.uvdoc:UVDoc"),
    ),
    "Backbone": (
        Row("det table", "MobileNetV3",    "backbones.det_mobilenet_v3:MobileNetV3",
            training="pretrained"),
        Row("rec cls",  "MobileNetV3",     "backbones.rec_mobilenet_v3:MobileNetV3",
            training="pretrained"),
        Row("det rec",  "PPLCNetV3",       "backbones.rec_lcnetv3:PPLCNetV3",
            training="pretrained lr_mult_list lab_lr"),
        Row("rec cls",  "MobileNetV1Enhance", "backbones.rec_mv1_enhance:MobileNetV1Enhance",
            training="pretrained"),
        Row("det",      "ResNet_vd",       "backbones.det_resnet_vd:ResNet_vd",
            training="pretrained in_channels disable_se"),
        Row("det",      "ResNet",          "backbones.det_resnet:ResNet",
            training="pretrained"),
        Row("rec",      "ResNet",          "backbones.rec_resnet_vd:ResNet",
            training="pretrained"),
        Row("det rec",  "PPHGNet_small",   "backbones.rec_hgnet:PPHGNet_small",
            training="pretrained use_ssld"),
        Row("det rec",  "PPHGNetV2_B4",    "backbones.rec_pphgnetv2:PPHGNetV2_B4",
            training="pretrained use_ssld"),
        Row("rec",      "DenseNet",        "backbones.rec_densenet:DenseNet",
            training="use_dropout"),
        Row("rec",      "HybridTransformer", "backbones.rec_hybridvit:HybridTransformer",
            training="img_size is_predict is_export drop_rate attn_drop_rate drop_path_rate"),
        Row("rec",      "DonutSwinModel",  "backbones.rec_donut_swin:DonutSwinModel",
            training="num_layers add_pooling_layer use_mask_token is_export"),
        Row("rec",      "PPHGNetV2_B4_Formula", "backbones.rec_pphgnetv2:PPHGNetV2_B4_Formula",
            training="class_num"),
        Row("rec",      "PPHGNetV2_B6_Formula", "backbones.rec_pphgnetv2:PPHGNetV2_B6_Formula",
            training="class_num"),
        Row("rec",      "Vary_VIT_B_Formula", "backbones.rec_vary_vit:Vary_VIT_B_Formula",
            training="encoder_global_attn_indexes"),
        Row("cls",      "PPLCNet",         "backbones.det_pp_lcnet:PPLCNet",
            training="pretrained use_ssld"),
        Row("table",    "PPLCNet",         "backbones.det_pp_lcnet:PPLCNetMaps",
            training="pretrained use_ssld"),
        Row("layout",   "LCNet",           "backbones.det_pp_lcnet:LCNet"),
        Row("layout",   "PPHGNetV2",       "backbones.rec_pphgnetv2:LayoutPPHGNetV2",
            training="freeze_stem_only freeze_at freeze_norm lr_mult_list"),
        Row("table",    "PPLCNetV2_base",  "backbones.det_pp_lcnet_v2:PPLCNetV2_base",
            training="pretrained use_ssld"),
        Row("table",    "Vary_VIT_B",      "backbones.rec_vary_vit:Vary_VIT_B",
            training="encoder_global_attn_indexes"),
        Row("table",    "TableResNetExtra", "backbones.table_master_resnet:TableResNetExtra"),
        Row("rec",      "SVTRNet",         "backbones.rec_svtrnet:SVTRNet",
            training="pretrained drop_rate attn_drop_rate drop_path_rate"),
        Row("rec",      "ViTSTR",          "backbones.rec_vitstr:ViTSTR",
            training="qk_scale drop_path_rate drop_rate attn_drop_rate"),
        Row("rec",      "MTB",             "backbones.rec_nrtr_mtb:MTB"),
        Row("rec",      "ViTParseQ",       "backbones.rec_vit_parseq:ViTParseQ",
            training="in_channels drop_rate attn_drop_rate drop_path_rate"),
        Row("rec",      "ResNet45",        "backbones.rec_resnet_45:ResNet45"),
        Row("rec",      "ShallowCNN",      "backbones.rec_shallow_cnn:ShallowCNN",
            training="in_channels"),
        Row("det rec",  "PPLCNetV4",       "backbones.rec_lcnetv4:PPLCNetV4",
            training="lr_mult_list"),
        Row("det",      "ResNet_SAST",     "backbones.det_resnet_vd_sast:ResNet_SAST"),
        Row("det",      "RepSVTR_det",     "backbones.rec_repvit:RepSVTR_det"),
        Row("rec",      "RepSVTR",         "backbones.rec_repvit:RepSVTR"),
        Row("rec",      "SVTRv2",          "backbones.rec_svtrv2:SVTRv2",
            training="local_k drop_rate attn_drop_rate drop_path_rate"),
        Row("e2e",      "ResNet",          "backbones.e2e_resnet_vd_pg:ResNet"),
        Row("rec",      "ResNet31",        "backbones.rec_resnet_31:ResNet31",
            training="init_type"),
        Row("rec",      "ResNet32",        "backbones.rec_resnet_32:ResNet32"),
        Row("rec",      "ResNetRFL",       "backbones.rec_resnet_rfl:ResNetRFL"),
        Row("rec",      "ResNet_ASTER",    "backbones.rec_resnet_aster:ResNet_ASTER",
            training="n_group"),
        Row("rec",      "EfficientNetb3_PREN",
            "backbones.rec_efficientb3_pren:EfficientNetb3_PREN"),
        Row("rec",      "ResNetFPN",       "backbones.rec_resnet_fpn:ResNetFPN"),
    ),
    "Neck": (
        Row("det",      "DBFPN",           "necks.db_fpn:DBFPN"),
        Row("det",      "RSEFPN",          "necks.db_fpn:RSEFPN"),
        Row("det",      "LKPAN",           "necks.lk_pan:LKPAN"),
        Row("det",      "RepLKFPN",        "necks.rep_lk:RepLKFPN"),
        Row("det",      "RepLKPAN",        "necks.rep_lk:RepLKPAN"),
        Row("det",      "EASTFPN",         "necks.east_fpn:EASTFPN"),
        Row("det",      "FPN",             "necks.fpn:FPN"),
        Row("det",      "FCEFPN",          "necks.fce_fpn:FCEFPN",
            training="spatial_scales use_c5 relu_before_extra_convs norm_decay freeze_norm"),
        Row("det",      "CTFPN",           "necks.ct_fpn:CTFPN"),
        Row("det",      "SASTFPN",         "necks.sast_fpn:SASTFPN"),
        Row("det",      "FPN_UNet",        "necks.fpn_unet:FPN_UNet",
            training="in_channels"),
        Row("e2e",      "PGFPN",           "necks.pg_fpn:PGFPN"),
        Row("rec",      "SequenceEncoder", "necks.rnn:SequenceEncoder",
            training="use_guide drop_rate attn_drop_rate drop_path"),
        Row("rec",      "RFAdaptor",       "necks.rf_adaptor:RFAdaptor"),
        Row("table layout", "CSPPAN",      "necks.csp_pan:CSPPAN"),
        Row("layout",   "LCPAN",           "necks.lc_pan:LCPAN"),
        Row("layout",   "HybridEncoder",   "necks.hybrid_encoder:HybridEncoder"),
        Row("rec",      "PRENFPN",         "necks.pren_fpn:PRENFPN",
            training="dropout"),
    ),
    "Head": (
        Row("det",      "DBHead",          "heads.det_db_head:DBHead",
            training="k fix_nan"),
        Row("det",      "PFHeadLocal",     "heads.det_db_head:PFHeadLocal",
            training="k fix_nan"),
        Row("det",      "EASTHead",        "heads.det_east_head:EASTHead"),
        Row("det",      "PSEHead",         "heads.det_pse_head:PSEHead"),
        Row("det",      "FCEHead",         "heads.det_fce_head:FCEHead"),
        Row("det",      "CT_Head",         "heads.det_ct_head:CT_Head",
            training="in_channels loss_kernel loss_loc"),
        Row("det",      "SASTHead",        "heads.det_sast_head:SASTHead"),
        Row("det",      "DRRGHead",        "heads.drrg.det_drrg_head:DRRGHead",
            training="in_channels local_graph_thr"),
        Row("e2e",      "PGHead",          "heads.e2e_pg_head:PGHead",
            training="character_dict_path", counts={"ctc": "out_channels"}),
        Row("rec",      "CTCHead",         "heads.rec_ctc_head:CTCHead",
            training="fc_decay return_feats", counts={"ctc": "out_channels"}),
        Row("rec",      "AttentionHead",   "heads.rec_att_head:AttentionHead",
            training="l2_decay", counts={"attn": "out_channels"}),
        Row("rec",      "MultiHead",       "heads.rec_multi_head:MultiHead",
            training="use_pos", counts={"ctc": "out_channels_list.CTCLabelDecode"}),
        Row("rec",      "SARHead",         "heads.rec_sar_head:SARHead",
            training="enc_drop_rnn dec_drop_rnn pred_dropout", counts={"sar": "out_channels"}),
        Row("rec",      "RobustScannerHead", "heads.rec_robustscanner_head:RobustScannerHead",
            training="hybrid_dec_dropout mask padding_idx",
            counts={"robustscanner": "out_channels"}),
        Row("rec",      "RFLHead",         "heads.rec_rfl_head:RFLHead",
            training="in_channels", counts={"rfl": "out_channels"}),
        Row("rec",      "SPINAttentionHead", "heads.rec_spin_att_head:SPINAttentionHead",
            counts={"spin": "out_channels"}),
        Row("rec",      "AsterHead",       "heads.rec_aster_head:AsterHead",
            counts={"seed": "out_channels"}),
        Row("rec",      "PRENHead",        "heads.rec_pren_head:PRENHead",
            counts={"pren": "out_channels"}),
        Row("rec",      "CPPDHead",        "heads.rec_cppd_head:CPPDHead",
            training="drop_path_rate ch", counts={"cppd": "out_channels"}),
        Row("rec",      "Transformer",     "heads.rec_nrtr_head:Transformer",
            training="attention_dropout_rate residual_dropout_rate",
            counts={"nrtr": "out_channels"}, scored=1),
        Row("rec",      "ParseQHead",      "heads.rec_parseq_head:ParseQHead",
            training="perm_num perm_forward perm_mirrored dropout",
            counts={"parseq": "out_channels"}, scored=-2),
        Row("rec",      "ABINetHead",      "heads.rec_abinet_head:ABINetHead",
            training="dropout", counts={"abinet": "out_channels"}),
        Row("rec",      "VLHead",          "heads.rec_visionlan_head:VLHead",
            training="training_step", counts={"visionlan": "out_channels"}, scored=1),
        Row("rec",      "SATRNHead",       "heads.rec_satrn_head:SATRNHead",
            counts={"satrn": "out_channels"}, scored=-1),
        Row("rec",      "SRNHead",         "heads.rec_srn_head:SRNHead",
            counts={"srn": "out_channels"}),
        Row("rec",      "CANHead",         "heads.rec_can_head:CANHead",
            training="in_channel out_channels max_text_length", counts={"can": "out_channel"}),
        Row("rec",      "LaTeXOCRHead",    "heads.rec_latexocr_head:LaTeXOCRHead",
            training="pad_value is_export"),
        Row("rec",      "UniMERNetHead",   "heads.rec_unimernet_head:UniMERNetHead",
            training=f"{MBART} is_export"),
        Row("rec",      "PPFormulaNet_Head", "heads.rec_ppformulanet_head:PPFormulaNet_Head",
            training=f"{MBART} is_export length_aware"),
        Row("cls",      "ClsHead",         "heads.cls_head:ClsHead",
            counts={"cls": "class_dim"}),
        # Its scoring convolutions also give the 4 x 8 bins of the distances.
        Row("layout",   "PicoHead",        "heads.pico_head:PicoHead",
            counts={"layout": "num_classes"}, scored=32),
        Row("layout",   "PicoHeadV2",      "heads.pico_head:PicoHeadV2",
            counts={"layout": "num_classes"}),
        Row("layout",   "RTDETRTransformer", "heads.rtdetr_head:RTDETRTransformer",
            training="num_denoising label_noise_ratio box_noise_scale",
            counts={"layout": "num_classes"}),
        Row("table",    "SLAHead",         "heads.table_att_head:SLAHead",
            training="fc_decay", counts={"table": "out_channels"}),
        Row("table",    "TableAttentionHead", "heads.table_att_head:TableAttentionHead",
            counts={"table": "out_channels"}),
        Row("table",    "TableMasterHead", "heads.table_master_head:TableMasterHead",
            training="hidden_size dropout", counts={"table": "out_channels"}),
    ),
}
# fmt: on
# The parts that a network of a model type needs; of any other, backbone and head.
REQUIRED = {"sr": ("Transform",), "unwarp": ("Transform",)}
# What the Architecture section may also hold: the paper's name, and settings of the training.
OTHER = ("in_channels", "algorithm", "name", "pretrained", "freeze_params", "return_all_feats")
KEYS = ("model_type", *TABLE, *OTHER)


def build(
    architecture: Mapping[str, Any],
    *,
    class_counts: Mapping[str, int] | None = None,
    form: str = "train",
) -> Model:
    """The network, randomly initialised and in eval mode, that PaddleOCR makes of `architecture`.

    `architecture` is the Architecture section of one of PaddleOCR's training configurations. Class
    counts that it does not state are taken from `class_counts`: `ctc` for a recogniser, `cls` for a
    classifier. The forms are explained in `fuse.py`.

    UnknownArchitecture: a network or option that is not mirrored here. ValueError: a class count
    that is missing or stated twice with different values, or an unknown form.
    """
    config = copy.deepcopy(dict(architecture))
    _check_keys(config)
    counts = _fill_class_counts(config, class_counts or {})
    parts = {}
    channels: Any = config.get("in_channels", 3)
    for part in TABLE:
        if config.get(part) is not None:
            parts[part] = make(part, config["model_type"], config[part], channels)
            output = parts[part]
            channels = output.out_channels if isinstance(output, FeatureExtractor) else None
    model = Model(parts, config, counts).eval()
    fuse_(model, form)
    return model


def make(part: str, model_type: str, options: Mapping[str, Any], in_channels: Any) -> nn.Module:
    """One part of a network from its section; `in_channels` as the part before it states them."""
    row = find(part, model_type, options)
    module, class_name = row.target.split(":")
    network = getattr(import_module(f"architectures.{module}"), class_name)
    _, *parameters = inspect.signature(network).parameters.values()
    accepted = [parameter.name for parameter in parameters]
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    if missing:
        raise UnknownArchitecture(f"{row.name} needs {_listed(missing)}")
    unknown = [name for name in options if name not in ("name", *accepted, *row.training.split())]
    if unknown:
        raise UnknownArchitecture(
            f"{row.name} does not take {_listed(unknown)}; it takes {_listed(accepted)} "
            f"and ignores, as inference does not read them, {_listed(row.training.split())}"
        )
    return network(in_channels, **{name: options[name] for name in accepted if name in options})


def find(part: str, model_type: str, options: Mapping[str, Any]) -> Row:
    """The table's row for a section of the configuration."""
    known = {row.name: row for row in TABLE[part] if model_type in row.model_types.split()}
    name = options.get("name")
    if name not in known:
        raise UnknownArchitecture(
            f"unknown {part} {name!r} for model_type {model_type!r}; known: {_listed(known)}"
        )
    return known[name]


def scored_beyond(architecture: Mapping[str, Any]) -> int:
    """How many classes the head of a network scores beyond its class count."""
    head = architecture.get("Head")
    return find("Head", architecture["model_type"], head).scored if head else 0


def _check_keys(config: Mapping[str, Any]) -> None:
    unknown = [key for key in config if key not in KEYS]
    if unknown:
        raise UnknownArchitecture(
            f"the architecture has the unknown keys {_listed(unknown)}; known: {_listed(KEYS)} "
            "(of a distillation model, give one of its Models)"
        )
    needed = REQUIRED.get(str(config.get("model_type")), ("Backbone", "Head"))
    missing = [key for key in ("model_type", *needed) if config.get(key) is None]
    if missing:
        raise UnknownArchitecture(f"the architecture lacks {_listed(missing)}")
    for part in TABLE:
        if not isinstance(config.get(part) or {}, Mapping):
            raise UnknownArchitecture(f"{part} is {config[part]!r}, not a name and its options")


def _fill_class_counts(config: dict[str, Any], given: Mapping[str, int]) -> dict[str, int]:
    """The class counts of the head; those that `config` does not state are written into it."""
    head = config.get("Head")
    if head is None:
        if given:
            raise ValueError(f"the network has no head, so no class count {_listed(given)}")
        return {}
    row = find("Head", config["model_type"], head)
    foreign = [name for name in given if name not in row.counts]
    if foreign:
        raise ValueError(
            f"{row.name} has no class count {_listed(foreign)}; it has {_listed(row.counts)}"
        )
    counts = {}
    for name, path in row.counts.items():
        *sections, option = path.split(".")
        place = head
        for section in sections:
            place = place.setdefault(section, {})
        stated = [count for count in (place.get(option), given.get(name)) if count is not None]
        if not stated:
            raise ValueError(
                f"{row.name} needs a class count: class_counts={{{name!r}: …}} or Head.{path}"
            )
        if stated[0] != stated[-1]:
            raise ValueError(
                f"Head.{path} states {stated[0]} classes, class_counts[{name!r}] {stated[1]}"
            )
        if not isinstance(stated[0], int) or stated[0] < 1:
            raise ValueError(f"the class count {name!r} is {stated[0]!r}, not a positive number")
        counts[name] = place[option] = stated[0]
    return counts


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
