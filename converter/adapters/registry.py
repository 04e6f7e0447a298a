"""The adapter of each head that needs one, by PaddleOCR's name of the head.

Of a network without a head, the name is that of the backbone or of the transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from converter.adapters.base import HeadAdapter

# Module and class; imported when the head occurs. Other heads take the image alone.
ADAPTERS: Mapping[str, str] = {
    "CANHead": "can:CANAdapter",
    "DRRGHead": "drrg:DRRGAdapter",
    "LaTeXOCRHead": "latex_ocr:LaTeXOCRAdapter",
    "LayoutLMForSer": "layoutlm:TokenAdapter",
    "LayoutLMv2ForRe": "layoutlm:LayoutLMv2RelationAdapter",
    "LayoutLMv2ForSer": "layoutlm:TokenAdapter",
    "LayoutXLMForRe": "layoutlm:RelationAdapter",
    "LayoutXLMForSer": "layoutlm:TokenAdapter",
    "PPFormulaNet_Head": "mbart:MBartAdapter",
    "PPDocLayoutV2": "pp_doclayout_v2:PPDocLayoutV2Adapter",
    "PPDocLayoutV3": "pp_doclayout_v3:PPDocLayoutV3Adapter",
    "ParseQHead": "parseq:ParseQAdapter",
    "PicoHead": "pico:PicoAdapter",
    "PicoHeadV2": "pico:PicoAdapter",
    "RTDETRTransformer": "rtdetr:RTDETRAdapter",
    "RobustScannerHead": "robust_scanner:RobustScannerAdapter",
    "SATRNHead": "satrn:SATRNAdapter",
    "SLAHead": "table:SLAAdapter",
    "SARHead": "sar:SARAdapter",
    "SDMGRHead": "sdmgr:SDMGRAdapter",
    "SRNHead": "srn:SRNAdapter",
    "TableAttentionHead": "table:TableAttentionAdapter",
    "TableMasterHead": "table_master:TableMasterAdapter",
    "Transformer": "nrtr:NRTRAdapter",
    "UVDoc": "uvdoc:UVDocAdapter",
    "UniMERNetHead": "mbart:MBartAdapter",
    "YOLOv3Head": "yolo:YOLOAdapter",
}


def head_options(architecture: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the Head section of an architecture; empty for a network without a head."""
    return architecture.get("Head") or {}


def adapter_for(architecture: Mapping[str, Any]) -> HeadAdapter:
    """Return the adapter of the network that an architecture describes."""
    sections = (architecture.get(part) for part in ("Head", "Backbone", "Transform"))
    options: Mapping[str, Any] = next(filter(None, sections), {})
    return adapter_of_head(options.get("name", ""), options)


def adapter_of_head(name: str, options: Mapping[str, Any]) -> HeadAdapter:
    """Return the adapter of a head, by its name and options."""
    if name not in ADAPTERS:
        return HeadAdapter(options)
    module, class_name = ADAPTERS[name].split(":")
    adapter = getattr(import_module(f"converter.adapters.{module}"), class_name)
    return cast("HeadAdapter", adapter(options))
