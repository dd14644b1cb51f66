"""Models of timm with random weights: classifiers of many families, feature pyramids."""

from functools import partial

from model_row import ModelRow, images
from torch import nn

from edgesplit.node.program.torchvision_ops import import_torchvision

# Name: side of the picture, and what makes the model smaller or fit that side.
CLASSIFIERS: dict[str, tuple[int, dict[str, object]]] = {
    "convnextv2_atto": (32, {}),
    "ghostnet_050": (32, {}),
    "mobilenetv4_conv_small_050": (32, {}),
    "repvgg_a0": (32, {}),
    "mobileone_s0": (32, {}),
    "fastvit_t8": (64, {}),
    "hrnet_w18_small": (32, {}),
    "dla46x_c": (32, {}),
    "res2net50_14w_8s": (32, {}),
    "resnest14d": (32, {}),
    "skresnet18": (32, {}),
    "rexnetr_200": (32, {}),
    "eca_nfnet_l0": (32, {}),
    "cspdarknet53": (32, {}),
    "poolformerv2_s12": (32, {}),
    "starnet_s1": (32, {}),
    "mambaout_femto": (32, {}),
    "edgenext_xx_small": (64, {}),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "efficientvit_b0": (64, {}),
    "efficientformerv2_s0": (64, {"img_size": 64}),
    "levit_128s": (64, {"img_size": 64}),
    "xcit_nano_12_p16_224": (32, {"img_size": 32}),
    "cait_xxs24_224": (32, {"img_size": 32, "depth": 4}),
    "deit_tiny_distilled_patch16_224": (32, {"img_size": 32, "depth": 4}),
    "beit_base_patch16_224": (32, {"img_size": 32, "depth": 2, "embed_dim": 96, "num_heads": 3}),
    "eva02_tiny_patch14_224": (28, {"img_size": 28, "depth": 3}),
    "crossvit_tiny_240": (240, {"depth": [[1, 1, 0]]}),
    "coat_lite_tiny": (32, {"img_size": 32}),
    "pit_ti_224": (64, {"img_size": 64}),
    "twins_svt_small": (64, {"img_size": 64}),
    "volo_d1_224": (64, {"img_size": 64}),
    "mixer_s32_224": (64, {"img_size": 64}),
    "gmlp_ti16_224": (32, {"img_size": 32}),
    "halonet26t": (256, {}),
    "lambda_resnet26t": (64, {"img_size": 64}),
    "botnet26t_256": (64, {"img_size": 64}),
    "davit_tiny": (32, {}),
    "gcvit_xxtiny": (64, {"img_size": 64}),
    "nextvit_small": (32, {}),
}


def classifier(name: str, options: dict[str, object]) -> nn.Module:
    """A model by timm's name, nothing downloaded."""
    import_torchvision()  # first, since timm imports torchvision
    import timm

    return timm.create_model(name, pretrained=False, num_classes=7, **options)


def pyramid(name: str) -> nn.Module:
    """Returns a list of feature maps."""
    import_torchvision()
    import timm

    return timm.create_model(name, pretrained=False, features_only=True)


ROWS = [
    *(
        ModelRow(
            f"timm {name}",
            partial(classifier, name, options),
            images(1, 3, n, n),
            images(3, 3, n, n),
        )
        for name, (n, options) in CLASSIFIERS.items()
    ),
    ModelRow("timm resnet10t, features", partial(pyramid, "resnet10t"), images(1, 3, 32, 32)),
]
