"""Kinds of layers by their names, as the export and public tables write them."""

import pytest

from edgesplit.core.graph import Graph
from edgesplit.core.policies.layer_kind import kind_of, kinds_of


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("conv", ("features.0.conv2d", "conv_proj.conv2d", "conv 64.0", "conv0", "block1_conv2",
                  "up.conv_transpose2d_1", "conv_pw_3")),
        ("fc", ("classifier.0.linear", "self_attention.linear_1", "linear 4096", "addmm_2", "fc1",
                "predictions", "mm")),
        ("attention", ("self_attn.scaled_dot_product_attention", "bmm_1", "matmul", "einsum")),
        ("pool", ("features.4.max_pool2d", "avgpool.adaptive_avg_pool2d", "pool3", "block1_pool")),
        ("norm", ("layer1.0.bn1.batch_norm", "norm1.layer_norm", "conv_dw_1_bn", "bn2a_branch2a")),
        ("act", ("features.1.relu", "relu_", "hardtanh", "mlp.1.gelu", "softmax", "hardswish_3",
                 "features.0.2.silu", "conv_pw_3_relu", "activation_12", "leaky_relu")),
        ("other", ("add_1", "flatten", "self_attention.add", "cat", "stem", "bottleneck 24.1",
                   "permute", "lstm", "7", "fold.0")),
    ],
)  # fmt: skip
def test_kinds(kind, names):
    assert {name: kind_of(name) for name in names} == dict.fromkeys(names, kind)


def test_of_a_graph():
    graph = Graph("g", ("0.conv2d", "1.relu", "flatten"), (1,) * 4, (1,) * 3)
    assert kinds_of(graph) == ("conv", "act", "other")
