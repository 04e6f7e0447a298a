"""What PaddleOCR's training YAMLs of recognisers say of preparing lines and of reading answers."""

from __future__ import annotations

BGR = {"DecodeImage": {"img_mode": "BGR", "channel_first": False}}
RGB = {"DecodeImage": {"img_mode": "RGB", "channel_first": False}}

# Its config -> the steps of Eval.dataset.transforms that touch images, and PostProcess.
STEPS = {
    "rec_mv3_none_bilstm_ctc": (
        [BGR, {"RecResizeImg": {"image_shape": [3, 32, 100]}}], "CTCLabelDecode"),
    "rec_mv3_tps_bilstm_att": (
        [BGR, {"RecResizeImg": {"image_shape": [3, 32, 100]}}], "AttnLabelDecode"),
    "rec_resnet_stn_bilstm_att": (
        [BGR, {"RecResizeImg": {
            "character_dict_path": None, "image_shape": [3, 64, 256], "padding": False}}],
        "SEEDLabelDecode"),
    "rec_svtrnet": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 64, 256], "padding": False}}],
        "CTCLabelDecode"),
    "rec_svtrnet_ch": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 32, 320], "padding": True}}],
        "CTCLabelDecode"),
    "rec_svtrnet_cppd_base_en": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 32, 100], "padding": False}}],
        "CPPDLabelDecode"),
    "rec_svtrnet_cppd_base_ch": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 32, 256], "padding": True}}],
        "CPPDLabelDecode"),
    "rec_vit_parseq": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 32, 128], "padding": False}}],
        "ParseQLabelDecode"),
    "rec_satrn": (
        [BGR, {"SVTRRecResizeImg": {"image_shape": [3, 32, 100], "padding": False}}],
        "SATRNLabelDecode"),
    "rec_r45_visionlan": (
        [RGB, {"VLRecResizeImg": {"image_shape": [3, 64, 256]}}], "VLLabelDecode"),
    "rec_efficientb3_fpn_pren": (
        [BGR, {"PRENResizeImg": {"image_shape": [64, 256]}}], "PRENLabelDecode"),
    "rec_r45_abinet": (
        [RGB, {"ABINetRecResizeImg": {"image_shape": [3, 32, 128]}}], "ABINetLabelDecode"),
    "rec_mtb_nrtr": (
        [BGR, {"GrayRecResizeImg": {"image_shape": [100, 32], "resize_type": "PIL"}}],
        "NRTRLabelDecode"),
    "rec_vitstr_none_ce": (
        [BGR, {"GrayRecResizeImg": {
            "image_shape": [224, 224], "resize_type": "PIL", "inter_type": "Image.BICUBIC",
            "scale": False}}],
        "ViTSTRLabelDecode"),
    "rec_resnet_rfl_att": (
        [BGR, {"RFLRecResizeImg": {
            "image_shape": [1, 32, 100], "padding": False, "interpolation": 2}}],
        "RFLLabelDecode"),
    "rec_r32_gaspin_bilstm_att": (
        [BGR, {"SPINRecResizeImg": {
            "image_shape": [100, 32], "interpolation": 2, "mean": [127.5], "std": [127.5]}}],
        "SPINLabelDecode"),
    "rec_r50_fpn_srn": (
        [BGR, {"SRNRecResizeImg": {
            "image_shape": [1, 64, 256], "num_heads": 8, "max_text_length": 25}}],
        "SRNLabelDecode"),
    "rec_r31_sar": (
        [BGR, {"SARRecResizeImg": {
            "image_shape": [3, 48, 48, 160], "width_downsample_ratio": 0.25}}],
        "SARLabelDecode"),
    "rec_r31_robustscanner": (
        [BGR, {"RobustScannerRecResizeImg": {
            "image_shape": [3, 48, 48, 160], "max_text_length": 40,
            "width_downsample_ratio": 0.25}}],
        "SARLabelDecode"),
}  # fmt: skip

# Steps that no config has, but which PaddleOCR knows.
OTHER_STEPS = [
    [BGR, {"GrayRecResizeImg": {
        "image_shape": [1, 32, 100], "resize_type": "PIL", "padding": True}}],
    [BGR, {"GrayRecResizeImg": {"image_shape": [100, 32], "resize_type": "OpenCV"}}],
    [BGR, {"RFLRecResizeImg": {"image_shape": [1, 32, 100]}}],
    [RGB, {"SARRecResizeImg": {"image_shape": [3, 32, 64, 200]}}],
    [RGB, {"RecResizeImg": {"image_shape": [3, 32, 128], "padding": False}}],
]  # fmt: skip
