"""The classes here that mirror PaddleOCR's, under its names, and `build`, which composes them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from architectures.construction import build_abstractly, wrong_options
from architectures.interfaces import FeatureExtractor
from architectures.model import Model
from architectures.reparameterize import fuse_
from schemas.artefact import MAX_CLASSES, describe_architecture_fault
from schemas.checks import is_count, shorten


class UnknownArchitecture(ValueError):
    """The configuration asks for a network or an option that is not mirrored here."""


class Row(NamedTuple):
    """One network: the model types that use it, PaddleOCR's name, its class.

    `training` names the options that inference does not read; `fixed` holds those of PaddleOCR's
    options that are supported with one value only; `counts` says which option holds a class count,
    dots between levels; `scored` is how many classes the network scores beyond that count, below 0
    where it never answers with the last ones, such as the padding; `copies` is how many times its
    layer scores them.
    """

    model_types: str
    name: str
    target: str
    training: str = ""
    fixed: Mapping[str, Any] = {}
    counts: Mapping[str, str] = {}
    scored: int = 0
    copies: int = 1


# How PaddleOCR's mBART would sample, had it the code for it; the likeliest token is taken.
MBART = "decoder_start_token_id temperature do_sample top_p"
# Where PaddleNLP's networks take the weights from that their training begins with.
PRETRAINED = "pretrained checkpoints"

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
            training="STN infer_mode width height", fixed={"mask": False}),
        Row("sr",       "TBSRN",           "transforms.tbsrn:TBSRN",
            training="STN infer_mode width height",
            fixed={"mask": False, "hidden_units": 32}),
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
            training="img_size is_predict is_export drop_rate attn_drop_rate drop_path_rate",
            fixed={"representation_size": None, "distilled": False, "embed_layer": None,
                   "norm_layer": None, "act_layer": None, "weight_init": ""}),
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
        Row("layout",   "ResNet",          "backbones.det_resnet_vd:LayoutResNet",
            training="freeze_at freeze_norm norm_decay norm_type lr_mult_list freeze_stem_only",
            fixed={"variant": "d", "num_stages": 4, "std_senet": False, "groups": 1,
                   "ch_in": 64}),
        Row("table",    "PPLCNetV2_base",  "backbones.det_pp_lcnet_v2:PPLCNetV2_base",
            training="pretrained use_ssld"),
        Row("table",    "Vary_VIT_B",      "backbones.rec_vary_vit:Vary_VIT_B",
            training="encoder_global_attn_indexes"),
        Row("table",    "TableResNetExtra", "backbones.table_master_resnet:TableResNetExtra"),
        Row("rec",      "SVTRNet",         "backbones.rec_svtrnet:SVTRNet",
            training="pretrained",
            fixed={"qk_scale": None, "norm_layer": "nn.LayerNorm", "sub_norm": "nn.LayerNorm",
                   "block_unit": "Block"}),
        Row("rec",      "ViTSTR",          "backbones.rec_vitstr:ViTSTR",
            training="qk_scale drop_path_rate drop_rate attn_drop_rate",
            fixed={"norm_layer": "nn.LayerNorm", "act_layer": "nn.GELU", "out_channels": None}),
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
            training="local_k max_sz out_channels out_char_num last_drop",
            fixed={"qk_scale": None, "feat2d": False}),
        Row("e2e",      "ResNet",          "backbones.e2e_resnet_vd_pg:ResNet"),
        Row("rec",      "ResNet31",        "backbones.rec_resnet_31:ResNet31",
            training="init_type", fixed={"out_indices": None}),
        Row("rec",      "ResNet32",        "backbones.rec_resnet_32:ResNet32"),
        Row("rec",      "ResNetRFL",       "backbones.rec_resnet_rfl:ResNetRFL"),
        Row("rec",      "ResNet_ASTER",    "backbones.rec_resnet_aster:ResNet_ASTER",
            training="n_group"),
        Row("rec",      "EfficientNetb3_PREN",
            "backbones.rec_efficientb3_pren:EfficientNetb3_PREN"),
        Row("rec",      "ResNetFPN",       "backbones.rec_resnet_fpn:ResNetFPN"),
        Row("kie",      "LayoutLMForSer",  "backbones.vqa_layoutlm:LayoutLMForSer",
            training=PRETRAINED, fixed={"mode": "base"}, counts={"ser": "num_classes"}),
        Row("kie",      "LayoutLMv2ForSer", "backbones.vqa_layoutlm:LayoutLMv2ForSer",
            training=PRETRAINED, counts={"ser": "num_classes"}),
        Row("kie",      "LayoutXLMForSer", "backbones.vqa_layoutlm:LayoutXLMForSer",
            training=PRETRAINED, counts={"ser": "num_classes"}),
        Row("kie",      "LayoutLMv2ForRe", "backbones.vqa_layoutlm:LayoutLMv2ForRe",
            training=PRETRAINED),
        Row("kie",      "LayoutXLMForRe",  "backbones.vqa_layoutlm:LayoutXLMForRe",
            training=PRETRAINED),
        Row("kie",      "Kie_backbone",    "backbones.kie_unet_sdmgr:Kie_backbone"),
    ),
    "Neck": (
        Row("det",      "DBFPN",           "necks.db_fpn:DBFPN"),
        Row("det",      "RSEFPN",          "necks.db_fpn:RSEFPN"),
        Row("det",      "LKPAN",           "necks.lk_pan:LKPAN"),
        Row("det",      "RepLKFPN",        "necks.rep_lk:RepLKFPN"),
        Row("det",      "RepLKPAN",        "necks.rep_lk:RepLKPAN",
            training="mode"),
        Row("det",      "EASTFPN",         "necks.east_fpn:EASTFPN"),
        Row("det",      "FPN",             "necks.fpn:FPN"),
        Row("det",      "FCEFPN",          "necks.fce_fpn:FCEFPN",
            training="spatial_scales use_c5 relu_before_extra_convs norm_decay freeze_norm",
            fixed={"norm_type": None}),
        Row("det",      "CTFPN",           "necks.ct_fpn:CTFPN"),
        Row("det",      "SASTFPN",         "necks.sast_fpn:SASTFPN"),
        Row("det",      "FPN_UNet",        "necks.fpn_unet:FPN_UNet",
            training="in_channels"),
        Row("e2e",      "PGFPN",           "necks.pg_fpn:PGFPN"),
        Row("rec",      "SequenceEncoder", "necks.rnn:SequenceEncoder",
            training="use_guide"),
        Row("rec",      "RFAdaptor",       "necks.rf_adaptor:RFAdaptor"),
        Row("table layout", "CSPPAN",      "necks.csp_pan:CSPPAN"),
        Row("layout",   "LCPAN",           "necks.lc_pan:LCPAN"),
        Row("layout",   "HybridEncoder",   "necks.hybrid_encoder:HybridEncoder"),
        Row("layout",   "PPYOLOPAN",       "necks.pp_yolo_pan:PPYOLOPAN",
            training="drop_block block_size keep_prob norm_type", fixed={"act": "mish"}),
        Row("layout",   "MaskHybridEncoder", "necks.mask_hybrid_encoder:MaskHybridEncoder"),
        Row("rec",      "PRENFPN",         "necks.pren_fpn:PRENFPN",
            training="dropout"),
    ),
    "Head": (
        Row("det",      "DBHead",          "heads.det_db_head:DBHead",
            training="fix_nan"),
        Row("det",      "PFHeadLocal",     "heads.det_db_head:PFHeadLocal",
            training="fix_nan"),
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
            training="enc_drop_rnn dec_drop_rnn pred_dropout",
            counts={"sar": "out_channels"}),
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
        # Of three anchors: place, object, overlap and classes.
        Row("layout",   "YOLOv3Head",      "heads.yolo_head:YOLOv3Head",
            training="loss", fixed={"iou_aware": True}, counts={"layout": "num_classes"},
            scored=6, copies=3),
        Row("layout",   "PPDocLayoutV2",   "heads.pp_doclayout_v2_head:PPDocLayoutV2",
            counts={"layout": "num_classes"}),
        Row("layout",   "PPDocLayoutV3",   "heads.pp_doclayout_v3_head:PPDocLayoutV3",
            counts={"layout": "num_classes"}),
        Row("kie",      "SDMGRHead",       "heads.kie_sdmgr_head:SDMGRHead",
            fixed={"bidirectional": False}, counts={"ser": "num_classes"}),
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
REQUIRED = {"sr": ("Transform",), "unwarp": ("Transform",), "kie": ("Backbone",)}
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

    Args:
        architecture: the Architecture section of one of PaddleOCR's training configurations.
        class_counts: class counts that `architecture` does not state: `ctc` for a recogniser, `cls`
            for a classifier.
        form: one of `FORMS`, which `reparameterize.py` explains.

    Raises:
        UnknownArchitecture: a network or option that is not mirrored here, a value of another type,
            or more layers or values than any network of PaddleOCR has. No memory was asked for.
        ValueError: a class count that is missing or stated twice with different values, or an
            unknown form.
    """
    config = copy.deepcopy(dict(architecture))
    _check_config(config)
    counts = _fill_class_counts(config, class_counts or {})
    parts = build_abstractly(lambda: _make_parts(config))
    if torch.empty(0).device.type != "meta":  # the default device
        parts = _make_parts(config)
    model = Model(parts, config, counts).eval()
    fuse_(model, form)
    return model


def _make_parts(config: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Build transform, backbone, neck and head, as far as `config` has them."""
    parts = {}
    channels: Any = config.get("in_channels", 3)
    for part in TABLE:
        if config.get(part) is not None:
            parts[part] = make(part, config["model_type"], config[part], channels)
            output = parts[part]
            channels = output.out_channels if isinstance(output, FeatureExtractor) else None
    return parts


def make(part: str, model_type: str, options: Mapping[str, Any], in_channels: Any) -> nn.Module:
    """Build one part of a network from its section of the configuration.

    Args:
        part: a key of `TABLE`.
        model_type: PaddleOCR's `model_type`, such as "rec".
        options: the section: the name of the network, and its options.
        in_channels: the `out_channels` of the part before it.

    Raises:
        UnknownArchitecture: the network is unknown, or does not take one of the options.
    """
    row = find(part, model_type, options)
    module, class_name = row.target.split(":")
    network = getattr(import_module(f"architectures.{module}"), class_name)
    _, *parameters = inspect.signature(network).parameters.values()
    accepted = [parameter.name for parameter in parameters]
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    if missing:
        raise UnknownArchitecture(f"{row.name} needs {_listed(missing)}")
    _check_unsupported(row, options, accepted)
    taken = {name: options[name] for name in accepted if name in options}
    for name, expected in wrong_options(network, taken):
        raise UnknownArchitecture(
            f"{row.name}: {name} is {shorten(options[name])}, expected {expected}"
        )
    try:
        built: nn.Module = network(in_channels, **taken)
    except UnknownArchitecture:
        raise
    # Values of the right types that do not fit each other: PyTorch's layers raise many types.
    except Exception as error:
        stated = _listed(f"{name} {shorten(value)}" for name, value in taken.items())
        reason = str(error) if isinstance(error, ValueError) else _described(error)
        raise UnknownArchitecture(f"{row.name} cannot be built with {stated}: {reason}") from error
    return built


def _described(error: Exception) -> str:
    """Return the type and the first line of an error's message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _check_unsupported(row: Row, options: Mapping[str, Any], accepted: Sequence[str]) -> None:
    """Raise UnknownArchitecture for options, or their values, that are not mirrored here."""
    ignored = row.training.split()
    known = ("name", *accepted, *ignored, *row.fixed)
    if unknown := [name for name in options if name not in known]:
        raise UnknownArchitecture(
            f"{row.name} does not take {_listed(unknown)}; it takes {_listed(accepted)} "
            f"and ignores, as inference does not read them, {_listed(ignored)}"
        )
    for name, value in row.fixed.items():
        if name not in accepted and options.get(name, value) != value:
            raise UnknownArchitecture(
                f"{row.name}: {name} is {shorten(options[name])}; supported is {value!r} only"
            )


def find(part: str, model_type: str, options: Mapping[str, Any]) -> Row:
    """The table's row for a section of the configuration."""
    known = {row.name: row for row in TABLE[part] if model_type in row.model_types.split()}
    name = options.get("name")
    if not isinstance(name, str) or name not in known:
        raise UnknownArchitecture(
            f"unknown {part} {shorten(name)} for model_type {model_type!r}; known: {_listed(known)}"
        )
    return known[name]


def output_section(architecture: Mapping[str, Any]) -> str:
    """Return the key of the part whose results are the network's; class counts are its options."""
    present = [part for part in TABLE if architecture.get(part)]
    return present[-1] if present else "Head"


def scored_width(architecture: Mapping[str, Any], classes: int) -> int:
    """Return how many channels the layer has that scores a number of classes."""
    row = _output_row(architecture)
    return (classes + row.scored) * row.copies if row else classes


def class_count(architecture: Mapping[str, Any], width: int) -> int:
    """Return how many classes a layer of a number of channels scores, for `scored_width`."""
    row = _output_row(architecture)
    return width // row.copies - row.scored if row else width


def _output_row(architecture: Mapping[str, Any]) -> Row | None:
    part = output_section(architecture)
    options = architecture.get(part)
    return find(part, architecture["model_type"], options) if options else None


def _check_config(config: Mapping[str, Any]) -> None:
    """Raise UnknownArchitecture for unknown or missing keys and for sections of another type."""
    if (fault := describe_architecture_fault(config)) is not None:
        raise UnknownArchitecture(f"the architecture holds {fault}")
    if unknown := [key for key in config if key not in KEYS]:
        raise UnknownArchitecture(
            f"the architecture has the unknown keys {_listed(unknown)}; known: {_listed(KEYS)} "
            "(of a distillation model, give one of its Models)"
        )
    model_type, channels = config.get("model_type"), config.get("in_channels", 3)
    if model_type is not None and not isinstance(model_type, str):
        raise UnknownArchitecture(f"model_type is {shorten(model_type)}, expected text")
    if not is_count(channels):
        raise UnknownArchitecture(
            f"in_channels is {shorten(channels)}, expected a whole number above 0"
        )
    needed = REQUIRED.get(str(model_type), ("Backbone", "Head"))
    missing = [key for key in ("model_type", *needed) if config.get(key) is None]
    if missing:
        raise UnknownArchitecture(f"the architecture lacks {_listed(missing)}")
    for part in TABLE:
        if config.get(part) is not None and not isinstance(config[part], Mapping):
            raise UnknownArchitecture(
                f"{part} is {shorten(config[part])}, not a name and its options"
            )


def _fill_class_counts(config: dict[str, Any], given: Mapping[str, int]) -> dict[str, int]:
    """The class counts of the last part; those that `config` does not state are written into it."""
    part = output_section(config)
    head = config[part]
    row = find(part, config["model_type"], head)
    foreign = [name for name in given if name not in row.counts]
    if foreign:
        raise ValueError(
            f"{row.name} has no class count {_listed(foreign)}; it has {_listed(row.counts)}"
        )
    counts = {}
    for name, path in row.counts.items():
        *sections, option = path.split(".")
        options = head
        for section in sections:
            options = options.setdefault(section, {})
            if not isinstance(options, dict):
                raise UnknownArchitecture(
                    f"{row.name}: {section} is {shorten(options)}, expected a mapping"
                )
        stated = [count for count in (options.get(option), given.get(name)) if count is not None]
        if not stated:
            raise ValueError(
                f"{row.name} needs a class count: class_counts={{{name!r}: …}} or {part}.{path}"
            )
        if stated[0] != stated[-1]:
            raise ValueError(
                f"{part}.{path} states {stated[0]} classes, class_counts[{name!r}] {stated[1]}"
            )
        if not is_count(stated[0]) or stated[0] > MAX_CLASSES:
            raise ValueError(
                f"the class count {name!r} is {shorten(stated[0])}, expected a whole number above "
                f"0, at most {MAX_CLASSES}"
            )
        counts[name] = options[option] = stated[0]
    return counts


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
