"""torchvision's zoo with random weights: classifiers, segmentation, detection, video, flow."""

from functools import partial

import torch
from model_row import ModelRow, images
from torch import nn

from edgesplit.node.program.torchvision_ops import import_torchvision

# Side of the picture: the smallest that the model takes.
CLASSIFIERS = {
    "alexnet": 64,
    "vgg11_bn": 32,
    "squeezenet1_1": 64,
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "densenet121": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "mnasnet0_5": 32,
    "shufflenet_v2_x0_5": 32,
    "efficientnet_b0": 32,
    "regnet_y_400mf": 32,
    "convnext_tiny": 32,
}
SEGMENTATION = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18")
DETECTION = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "retinanet_resnet50_fpn",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
)
# They scale pictures up to 800 pixels otherwise.
SMALL_SIDES = {name: {"min_size": 64, "max_size": 96} for name in DETECTION if "ssd" not in name}


def zoo(name: str, **options: object) -> nn.Module:
    """A model by torchvision's name, nothing downloaded."""
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = True  # unset, torchvision warns that the default will change
    models = import_torchvision().models
    return models.get_model(name, weights=None, **options)


def segmenter(name: str) -> nn.Module:
    """Its backbone has no weights of its own either."""
    return zoo(name, weights_backbone=None, num_classes=5)


def swin() -> nn.Module:
    """Swin v1 with two stages of two blocks: windows, shifts and masks as in swin_t."""
    transformer = import_torchvision().models.SwinTransformer
    return transformer([4, 4], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.1)


def picture_list() -> tuple[list[torch.Tensor]]:
    """What torchvision's detectors take: pictures of several sizes."""
    return ([torch.rand(3, 64, 80), torch.rand(3, 72, 64)],)


ROWS = [
    *(
        ModelRow(f"torchvision {name}", partial(zoo, name), images(1, 3, n, n), images(2, 3, n, n))
        for name, n in CLASSIFIERS.items()
    ),
    ModelRow("torchvision vit_b_16", partial(zoo, "vit_b_16", image_size=32), images(1, 3, 32, 32)),
    ModelRow("torchvision swin", swin, images(1, 3, 32, 32), images(2, 3, 32, 32)),
    ModelRow(
        "torchvision maxvit",
        lambda: import_torchvision().models.MaxVit(
            input_size=(64, 64),
            stem_channels=8,
            partition_size=2,
            block_channels=[8, 16],
            block_layers=[1, 1],
            head_dim=8,
            stochastic_depth_prob=0.1,
        ),
        images(1, 3, 64, 64),
    ),
    *(
        ModelRow(f"torchvision {name}", partial(segmenter, name), images(1, 3, 48, 64))
        for name in SEGMENTATION
    ),
    *(
        ModelRow(f"torchvision {name}", partial(zoo, name, num_classes=7), images(1, 3, 4, 32, 32))
        for name in VIDEO
    ),
    ModelRow(
        "torchvision swin3d_t", partial(zoo, "swin3d_t", num_classes=7), images(1, 3, 4, 32, 32)
    ),
    ModelRow(
        "torchvision raft_small",
        partial(zoo, "raft_small"),
        lambda: (torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)),
    ),
    *(
        ModelRow(
            f"torchvision {name}",
            partial(zoo, name, weights_backbone=None, **SMALL_SIDES.get(name, {})),
            picture_list,
            refused="split its backbone",
        )
        for name in DETECTION
    ),
]
