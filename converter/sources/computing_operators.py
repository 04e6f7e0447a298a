"""The operators that Paddle may be asked to run: those that compute arrays from arrays.

A downloaded program is a stranger's: Paddle's `save`, `load`, `print`, `py_func` and others would
write files, read them, or call Python. So this is a list of what is allowed, and everything else is
refused, also operators that are not known here. Names are those of both formats, without the
trailing `_` of an in-place operator. Networks for text, layout and tables use about a third of
them; the rest are operators of the same kind: arithmetic, layers, shapes, indexing, boxes and
control flow. Source: the operators that Paddle 1.8 to 3.3 register.
"""

from __future__ import annotations

_ARITHMETIC = """
    abs acos acosh add add_n addmm allclose amax amin angle asin asinh atan atan2 atanh baddbmm
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm cast
    ceil clip clip_by_norm complex conj copysign cos cosh cross cummax cummin cumprod cumsum
    determinant digamma dist divide dot einsum elementwise_add elementwise_div elementwise_floordiv
    elementwise_fmax elementwise_fmin elementwise_heaviside elementwise_max elementwise_min
    elementwise_mod elementwise_mul elementwise_pow elementwise_sub equal equal_all erf erfinv exp
    expm1 fft_c2c fft_c2r fft_r2c floor floor_divide fmax fmin frobenius_norm gammaincc gammaln
    grad_add greater_equal greater_than heaviside i0 i0e i1 i1e imag increment inverse isclose
    isfinite isfinite_v2 isinf isinf_v2 isnan isnan_v2 kron l1_norm legacy_matmul lerp less_equal
    less_than lgamma log log10 log1p log2 logaddexp logcumsumexp logical_and logical_not logical_or
    logical_xor logit logsumexp matmul matmul_v2 matmul_with_flatten matrix_power max maximum mean
    mean_all median min minimum minus mul multi_dot multiply mv nanmedian nansum nextafter norm
    not_equal p_norm polygamma pow prod real reciprocal reduce_all reduce_amax reduce_amin
    reduce_any reduce_as reduce_max reduce_mean reduce_min reduce_prod reduce_sum remainder renorm
    rint round rsqrt scale sign sin sinh sqrt square squared_l2_norm stanh std subtract sum tan
    trace trunc trunc_divide variance all any
"""

_ACTIVATIONS = """
    brelu celu elu gelu gumbel_softmax hard_shrink hard_sigmoid hard_swish hardshrink hardsigmoid
    hardswish hardtanh leaky_relu log_softmax logsigmoid maxout mish prelu relu relu6 rrelu selu
    cross_entropy_with_softmax sigmoid silu soft_relu softmax softmax_with_cross_entropy softplus
    softshrink softsign swiglu swish tanh tanh_shrink
    thresholded_relu
"""

_LAYERS = """
    affine_channel attention_lstm batch_norm bilinear bilinear_tensor_product channel_shuffle
    conv2d conv2d_transpose conv2d_transpose_bias conv3d conv3d_transpose correlation crf_decoding
    ctc_align cudnn_lstm data_norm deformable_conv deformable_conv_v1 depthwise_conv2d
    depthwise_conv2d_bias depthwise_conv2d_transpose dropout embedding fc fold fractional_max_pool2d
    group_norm gru gru_unit im2sequence instance_norm label_smooth layer_norm linear_v2 lookup_table
    lookup_table_v2 lp_pool2d lrn lstm max_pool2d_v2 max_pool2d_with_index max_pool3d_with_index
    pool2d pool3d rms_norm rnn row_conv sequence_conv sequence_expand sequence_mask sequence_pool
    sequence_softmax shuffle_channel spectral_norm sync_batch_norm temporal_shift unfold unpool
    unpool3d
"""

# What Paddle's optimisation and quantisation leave in an export.
_FUSED_AND_QUANTISED = """
    dequantize dequantize_abs_max dequantize_linear dequantize_log
    fake_channel_wise_dequantize_max_abs fake_channel_wise_quantize_abs_max
    fake_channel_wise_quantize_dequantize_abs_max fake_dequantize_max_abs fake_quantize_abs_max
    fake_quantize_dequantize_abs_max fake_quantize_dequantize_moving_average_abs_max
    fake_quantize_moving_average_abs_max fake_quantize_range_abs_max flash_attn fused_batch_norm_act
    fused_bias_act fused_bias_dropout_residual_layer_norm fused_bn_add_activation fused_conv2d
    fused_conv2d_add_act fused_dropout_add fused_elementwise_add fused_elementwise_div
    fused_elementwise_mul fused_elementwise_sub fused_elemwise_activation
    fused_elemwise_add_activation fused_embedding_eltwise_layernorm fused_fc_elementwise_layernorm
    fused_gemm_epilogue fused_matmul fused_softmax_mask fused_softmax_mask_upper_triangle
    fused_softplus fused_transpose fusion_gru fusion_lstm fusion_repeated_fc_relu
    fusion_seqconv_eltadd_relu fusion_seqpool_concat fusion_squared_mat_sub
    fusion_transpose_flatten_concat memory_efficient_attention moving_average_abs_max_scale
    multi_gru multihead_matmul quantize quantize_linear requantize self_dp_attention skip_layernorm
    squeeze_excitation_block weight_dequantize weight_only_linear weight_quantize
"""

_RESIZING_AND_SAMPLING = """
    affine_grid bicubic_interp bicubic_interp_v2 bilinear_interp bilinear_interp_v2 grid_sample
    grid_sampler linear_interp linear_interp_v2 nearest_interp nearest_interp_v2 pixel_shuffle
    pixel_unshuffle trilinear_interp trilinear_interp_v2
"""

_SHAPES_AND_INDEXING = """
    arg_max arg_min argmax argmin argsort as_complex as_real as_strided bincount broadcast_tensors
    bucketize concat crop crop_tensor diag_embed diag_v2 diag diagonal expand expand_as expand_as_v2
    expand_v2 fill_diagonal fill_diagonal_tensor flatten flatten2 flatten_contiguous_range flip
    frame gather gather_nd gather_tree hash histogram index_add index_elementwise_get
    index_elementwise_put index_elementwise_put_with_tensor index_put index_sample index_select
    index_select_strided is_empty kthvalue masked_fill masked_select max_with_index meshgrid
    min_with_index mode multiplex nonzero numel one_hot one_hot_v2 overlap_add pad pad2d pad3d
    partial_concat partial_sum put_along_axis repeat_interleave
    repeat_interleave_with_tensor_index reshape reshape2 reverse roll scatter scatter_nd_add
    searchsorted segment_pool set_value set_value_with_tensor shape shape64 shape_broadcast
    shard_index size slice split split_with_num squeeze squeeze2 stack strided_slice
    take_along_axis tensor_unfold tile top_k top_k_v2 topk transpose transpose2 tril tril_indices
    tril_triu triu triu_indices unbind unique unique_consecutive unsqueeze unsqueeze2 unstack
    view_dtype view_shape view_slice where where_index
"""

_CREATION = """
    arange assign assign_out assign_value data empty empty_like eye feed fetch fetch_v2 fill
    fill_any fill_any_like fill_constant fill_constant_batch_size_like fill_zeros_like full
    full_batch_size_like full_int_array full_like full_with_tensor linspace logspace memcpy
    memcpy_d2h memcpy_h2d nop ones ones_like range range_v2 share_data shadow_feed shadow_output
    transfer_layout trans_layout zeros zeros_like
"""

_RANDOM_NUMBERS = """
    bernoulli dirichlet exponential gaussian gaussian_inplace gaussian_random multinomial poisson
    randint randperm seed standard_gamma top_p_sampling truncated_gaussian_random uniform
    uniform_inplace uniform_random uniform_random_batch_size_like uniform_random_inplace
"""

_BOXES_AND_DECODING = """
    anchor_generator beam_search beam_search_decode bipartite_match box_clip box_coder
    collect_fpn_proposals density_prior_box distribute_fpn_proposals edit_distance
    generate_proposals generate_proposals_v2 iou_similarity matrix_nms multiclass_nms
    multiclass_nms2 multiclass_nms3 nms polygon_box_transform prior_box prroi_pool psroi_pool
    roi_align roi_perspective_transform roi_pool target_assign viterbi_decode yolo_box
    yolo_box_head yolo_box_post
"""

# An `assert` ends the run where a condition does not hold.
_CONTROL_FLOW = """
    array_length array_pop array_read array_to_tensor array_write assert assign_array
    conditional_block conditional_block_infer create_array create_array_like depend if
    lod_array_length lod_reset read_from_array select_input select_output slice_array
    slice_array_dense tensor_array_to_tensor tensor_to_array while write_to_array
"""

OPERATORS = frozenset(
    " ".join(
        (
            _ARITHMETIC,
            _ACTIVATIONS,
            _LAYERS,
            _FUSED_AND_QUANTISED,
            _RESIZING_AND_SAMPLING,
            _SHAPES_AND_INDEXING,
            _CREATION,
            _RANDOM_NUMBERS,
            _BOXES_AND_DECODING,
            _CONTROL_FLOW,
        )
    ).split()
)

# PIR's operators about values and blocks, by the number of their dialect.
PIR_STRUCTURE = frozenset(
    {
        "p",
        "0.combine",
        "0.split",
        "0.slice",
        "2.yield",
        "2.stack_create",
        "2.tuple_push",
        "2.tuple_pop",
    }
)

# Attributes that make an operator of the list fetch its table from another machine.
REMOTE_ATTRIBUTES = frozenset({"remote_prefetch", "is_distributed", "distributed"})


def refusal(source: str, operator: str, block: str) -> str:
    """Return the message for an operator that is not on the list."""
    return (
        f"{source}: {block[:80]!s} has the operator {operator[:60]!a}, which is not one of those "
        "that only compute arrays; it could write files or run code, so nothing was run. If you "
        "trust this model, export it without that operator, or convert with --reference recorded "
        "or none."
    )
