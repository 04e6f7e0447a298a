"""The table of Paddle's operations: names, operands and attributes in both program formats.

A row of `KINDS` has an operation's canonical kind; its operands in PIR's order, each as `role:Slot`
with its slot in a ProgramDesc; its types in a ProgramDesc and its names in PIR's `pd_op` dialect,
if they differ from the kind (without the trailing `_` of an in-place operation); attributes to
rename; and defaults of attributes that one of the formats omits. An operand `role=Slot` is an
attribute that a program may also compute: if it is constant, it becomes an attribute.
Source: Paddle's `paddle/phi/ops/yaml/{ops,op_compat}.yaml`, and programs that Paddle 1.8 to 3.3
wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Role:
    """One operand of an operation.

    Args:
        name: its canonical name.
        slots: its slots in a ProgramDesc.
        foldable: whether a constant operand becomes an attribute.
    """

    name: str
    slots: tuple[str, ...] = ()
    foldable: bool = False


@dataclass(frozen=True)
class Kind:
    """One row of the table: an operation in both formats.

    Args:
        name: the canonical kind.
        roles: the operands in PIR's order.
        desc: its types in a ProgramDesc.
        pir: its names in PIR's `pd_op` dialect.
        renames: from attribute names in the files to canonical ones.
        defaults: attributes that one of the formats omits.
    """

    name: str
    roles: tuple[Role, ...] = ()
    desc: tuple[str, ...] = ()
    pir: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)

    def attribute(self, name: str) -> str:
        """Return the canonical name of an attribute."""
        return self.renames.get(name, _COMMON_RENAMES.get(name, name))


def _kind(
    name: str,
    operands: str = "x:X",
    *,
    desc: str | None = None,
    pir: str | None = None,
    rename: str = "",
    defaults: Mapping[str, object] | None = None,
) -> Kind:
    """Build a row; `desc` and `pir` default to the kind's own name."""
    return Kind(
        name,
        tuple(map(_role, operands.split())),
        tuple((name if desc is None else desc).split()),
        tuple((name if pir is None else pir).split()),
        dict(pair.split(">") for pair in rename.split()),
        defaults or {},
    )


def _role(operand: str) -> Role:
    foldable = "=" in operand
    name, slots = operand.split("=" if foldable else ":")
    return Role(name, tuple(slots.split(",")) if slots else (), foldable)


KINDS = (
    _kind("conv2d", "x:Input weight:Filter bias:Bias"),
    _kind("depthwise_conv2d", "x:Input weight:Filter bias:Bias"),
    _kind("conv3d", "x:Input weight:Filter"),
    _kind("conv2d_transpose", "x:Input weight:Filter output_size=OutputSizeTensor bias:Bias"),
    _kind(
        "depthwise_conv2d_transpose", "x:Input weight:Filter output_size=OutputSizeTensor bias:Bias"
    ),
    _kind(
        "deformable_conv",
        "x:Input offset:Offset weight:Filter mask:Mask",
        desc="deformable_conv deformable_conv_v1",
    ),
    _kind(
        "batch_norm",
        "x:X mean:Mean variance:Variance scale:Scale bias:Bias",
        desc="batch_norm sync_batch_norm",
        pir="batch_norm sync_batch_norm",
    ),
    _kind("layer_norm", "x:X scale:Scale bias:Bias"),
    _kind("group_norm", "x:X scale:Scale bias:Bias"),
    _kind("instance_norm", "x:X scale:Scale bias:Bias"),
    _kind("rms_norm", "x:x bias:bias residual:residual scale:norm_weight"),
    _kind(
        "matmul",
        "x:X y:Y",
        desc="matmul matmul_v2 mul",
        rename="trans_x>transpose_x trans_y>transpose_y"
        " transpose_X>transpose_x transpose_Y>transpose_y",
        defaults={"transpose_x": False, "transpose_y": False},
    ),
    _kind("bmm", "x:X y:Y"),
    _kind("bilinear", "x:X y:Y weight:Weight bias:Bias", desc="bilinear_tensor_product"),
    _kind("embedding", "x:Ids weight:W", desc="lookup_table_v2 lookup_table"),
    _kind(
        "rnn",
        "x:Input state:PreState weights:WeightList length:SequenceLength"
        " dropout_state:DropoutState",
    ),
    _kind("prelu", "x:X alpha:Alpha"),
    _kind("fc", "x:Input weight:W bias:Bias"),
    _kind("add", "x:X y:Y", desc="elementwise_add grad_add", defaults={"axis": -1}),
    _kind("subtract", "x:X y:Y", desc="elementwise_sub", defaults={"axis": -1}),
    _kind("multiply", "x:X y:Y", desc="elementwise_mul", defaults={"axis": -1}),
    _kind("divide", "x:X y:Y", desc="elementwise_div", defaults={"axis": -1}),
    _kind("maximum", "x:X y:Y", desc="elementwise_max", defaults={"axis": -1}),
    _kind("minimum", "x:X y:Y", desc="elementwise_min", defaults={"axis": -1}),
    _kind("elementwise_pow", "x:X y:Y"),
    _kind("remainder", "x:X y:Y", desc="elementwise_mod"),
    _kind("floor_divide", "x:X y:Y", desc="elementwise_floordiv"),
    _kind("relu"),
    _kind("relu6"),
    _kind("leaky_relu", rename="alpha>negative_slope"),
    _kind("sigmoid"),
    _kind("hardsigmoid", desc="hard_sigmoid", defaults={"slope": 0.2, "offset": 0.5}),
    _kind("hardswish", desc="hard_swish"),
    _kind("swish"),
    _kind("silu"),
    _kind("gelu"),
    _kind("elu"),
    _kind("mish", rename="threshold>lambda"),
    _kind("tanh"),
    _kind("hardtanh", desc="brelu"),
    _kind("softplus"),
    _kind("softmax", defaults={"axis": -1}),
    _kind("log_softmax"),
    _kind("dropout", "x:X seed:Seed p=", rename="dropout_prob>p dropout_implementation>mode"),
    _kind("exp"),
    _kind("log"),
    _kind("sqrt"),
    _kind("rsqrt"),
    _kind("square"),
    _kind("abs"),
    _kind("sin"),
    _kind("cos"),
    _kind("floor"),
    _kind("scale", "x:X scale=ScaleTensor"),
    _kind("pow", "x:X factor=FactorTensor", rename="y>factor"),
    _kind("clip", "x:X min=Min max=Max"),
    _kind("pool2d", "x:X kernel_size=", rename="ksize>kernel_size"),
    _kind("max_pool2d_with_index", "x:X kernel_size=", rename="ksize>kernel_size"),
    _kind(
        "nearest_interp",
        "x:X out_size:OutSize sizes:SizeTensor scale_tensor:Scale",
        desc="nearest_interp nearest_interp_v2",
    ),
    _kind(
        "bilinear_interp",
        "x:X out_size:OutSize sizes:SizeTensor scale_tensor:Scale",
        desc="bilinear_interp bilinear_interp_v2",
    ),
    _kind(
        "bicubic_interp",
        "x:X out_size:OutSize sizes:SizeTensor scale_tensor:Scale",
        desc="bicubic_interp bicubic_interp_v2",
    ),
    _kind("grid_sample", "x:X grid:Grid", desc="grid_sampler"),
    _kind("pixel_shuffle"),
    _kind("reshape", "x:X shape=ShapeTensor,Shape", desc="reshape reshape2"),
    _kind("transpose", desc="transpose transpose2", rename="axis>perm"),
    _kind("flatten", desc="flatten_contiguous_range"),
    _kind("squeeze", "x:X axes=AxesTensor,AxesTensorList", desc="squeeze squeeze2"),
    _kind("unsqueeze", "x:X axes=AxesTensor,AxesTensorList", desc="unsqueeze unsqueeze2"),
    _kind("concat", "x:X axis=AxisTensor", defaults={"axis": 0}),
    _kind("stack"),
    _kind("unstack"),
    _kind("split", "x:X sections=SectionsTensorList axis=AxisTensor", desc=""),
    _kind("split", "x:X axis=AxisTensor", pir="split_with_num"),
    _kind("slice", "x:Input starts=StartsTensor,StartsTensorList ends=EndsTensor,EndsTensorList"),
    _kind(
        "strided_slice",
        "x:Input starts=StartsTensor,StartsTensorList ends=EndsTensor,EndsTensorList"
        " strides=StridesTensor,StridesTensorList",
    ),
    _kind("expand", "x:X shape=Shape,expand_shapes_tensor", desc="expand expand_v2"),
    _kind("expand_as", "x:X y:Y", desc="expand_as_v2"),
    _kind("tile", "x:X repeat_times=RepeatTimes,repeat_times_tensor"),
    _kind("pad", "x:X pad_value="),
    _kind("pad3d", "x:X paddings=Paddings", rename="value>pad_value"),
    _kind("gather", "x:X index:Index axis=Axis"),
    _kind("gather_nd", "x:X index:Index"),
    _kind("einsum", "x:Operands"),
    _kind("index_select", "x:X index:Index", rename="dim>axis"),
    _kind("where", "condition:Condition x:X y:Y"),
    _kind("mean", "x:X axis=", desc="reduce_mean", rename="dim>axis keep_dim>keepdim"),
    _kind("sum", "x:X axis=", desc="reduce_sum", rename="dim>axis keep_dim>keepdim"),
    _kind("max", "x:X axis=", desc="reduce_max", rename="dim>axis keep_dim>keepdim"),
    _kind("min", "x:X axis=", desc="reduce_min", rename="dim>axis keep_dim>keepdim"),
    _kind("p_norm"),
    _kind("argmax", "x:X axis=", desc="arg_max", rename="keepdims>keepdim"),
    _kind("topk", "x:X k=K", desc="top_k_v2"),
    _kind("cumsum", "x:X axis="),
    _kind("cast", rename="out_dtype>dtype"),
    _kind("assign"),
    _kind("shape", "x:Input", pir="shape shape64"),
    _kind("full", "shape=ShapeTensor,ShapeTensorList value=ValueTensor", desc="fill_constant"),
    _kind("full_int_array", "", desc=""),
    _kind("data", "", desc="feed", pir="data feed"),
    _kind("fetch"),
    _kind("while", "condition:Condition"),
)

_COMMON_RENAMES = {"data_layout": "data_format"}

# The slots of a ProgramDesc that carry the main result.
MAIN_OUTPUTS = ("Out", "Output", "Y")

# About how Paddle runs an operation, not about what it computes.
IGNORED_ATTRIBUTES = frozenset(
    {
        "op_role",
        "op_role_var",
        "op_namescope",
        "op_callstack",
        "op_device",
        "with_quant_attr",
        "use_mkldnn",
        "use_cudnn",
        "mkldnn_data_type",
        "mkldnn_kernel_type",
        "use_quantizer",
        "use_onednn",
        "onednn_data_type",
        "struct_name",
        "place",
        "place_type",
        "force_cpu",
        "force_fp32_output",
        "workspace_size_MB",
        "exhaustive_search",
        "use_addto",
        "fuse_activation",
        "fuse_relu",
        "fuse_brelu",
        "fuse_alpha",
        "fuse_beta",
        "fuse_brelu_threshold",
        "fuse_with_relu",
        "fuse_residual_connection",
        "fuse_relu_before_depthwise_conv",
        "fused_reshape_X",
        "fused_reshape_Y",
        "fused_reshape_Out",
        "fused_transpose_X",
        "fused_transpose_Y",
        "fused_transpose_Out",
        "Scale_in",
        "Scale_out",
        "Scale_x",
        "Scale_y",
        "Scale_weights",
        "Scale_in_eltwise",
        "x_data_format",
        "y_data_format",
        "is_test",
    }
)


_DESC = {name: kind for kind in KINDS for name in kind.desc}
_PIR = {name: kind for kind in KINDS for name in kind.pir}


def of_desc(name: str) -> Kind:
    """Return the row of a ProgramDesc's operation; a row without roles if there is none."""
    return _DESC.get(name) or Kind(name.lower())


def of_pir(name: str) -> Kind:
    """Return the row of a PIR operation, `pd_op` left out; a row without roles if there is none."""
    stem = name.rstrip("_")
    return _PIR.get(stem) or Kind(stem.lower())
