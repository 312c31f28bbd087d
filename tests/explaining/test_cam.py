"""Maps show what spoke for a class: known answers on small networks, every method, every architecture."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import nn

from stages.core.explaining.cam import (
    METHODS,
    first_component,
    grayscale_cams,
    overlay,
    scaled,
    spoken,
)
from stages.core.explaining.layers import check_layers, last_outputs, last_spatial_layer

RED = (20, 50, 24, 60)  # top, bottom, left, right of the red square: not on the diagonal


class RednessNet(nn.Module):
    """Class 0 scores the mean redness, class 1 the mean blueness; the only layer is `colour`."""

    def __init__(self):
        super().__init__()
        self.colour = nn.Conv2d(3, 2, 3, padding=1, bias=False)
        weights = torch.zeros(2, 3, 3, 3)
        weights[0, :, 1, 1] = torch.tensor([1.0, -0.5, -0.5])
        weights[1, :, 1, 1] = torch.tensor([-0.5, -0.5, 1.0])
        self.colour.weight = nn.Parameter(weights)

    def forward(self, x):
        return torch.relu(self.colour(x)).mean(dim=(2, 3))


def scene() -> torch.Tensor:
    """A red square at the left, a blue one at the right, wider than high."""
    image = torch.full((1, 3, 64, 160), 0.2)
    top, bottom, left, right = RED
    image[0, 0, top:bottom, left:right] = 1
    image[0, 2, 30:60, 110:150] = 1
    return image


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "xgradcam", "eigengradcam", "layercam"])
@pytest.mark.parametrize("aug_smooth", [False, True])
def test_the_map_of_red_peaks_on_the_red_square_of_a_image_that_is_not_square(method, aug_smooth):
    (cam,) = grayscale_cams(RednessNet(), method, ["colour"], scene(), [0], aug_smooth=aug_smooth)
    assert cam.shape == (64, 160)
    top, bottom, left, right = RED
    inside = cam[top:bottom, left:right].mean()
    cam[top:bottom, left:right] = 0
    assert inside > 0.9 and cam.mean() < 0.2


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("eigen_smooth", [False, True])
def test_every_method_gives_a_map_between_0_and_1_of_the_images_size(method, eigen_smooth):
    cams = grayscale_cams(
        RednessNet(), method, ["colour"], scene().repeat(2, 1, 1, 1), [0, 1], eigen_smooth
    )
    assert cams.shape == (2, 64, 160) and cams.dtype == np.float32
    assert cams.min() >= 0 and cams.max() <= 1 and cams.std() > 0.01


def test_the_first_component_rises_with_the_reference_whatever_svd_says():
    strength = np.linspace(0, 1, 12).reshape(1, 3, 4)
    features = np.stack([strength[0] * k for k in (1.0, 2.0, -3.0)])[None]
    for sign in (1, -1):
        (projection,) = first_component(sign * features, strength)
        assert np.corrcoef(projection.ravel(), strength.ravel())[0, 1] > 0.999


class InPlaceNet(nn.Module):
    """A layer whose output the next one changes in place, as in ResNet."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.conv.weight = nn.Parameter(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).reshape(2, 3, 1, 1))

    def forward(self, x):
        return torch.relu_(self.conv(x)).mean(dim=(2, 3))


def test_activations_are_those_of_the_layer_not_of_what_changes_them_later():
    """Channel 1 of the layer is negative everywhere; after the ReLU it would be 0."""
    model = InPlaceNet()
    with last_outputs({"conv": model.conv}) as outputs:
        scores = model(torch.ones(1, 3, 4, 4))
    assert outputs["conv"][0, 1].unique().tolist() == [-1.0] and scores.tolist() == [[1.0, 0.0]]


class QuadrantNet(nn.Module):
    """Class k scores the mean of quadrant k (top left, top right, ...) of its last layer's output.

    A layer is one of `layouts`: a map, a map with its channels last, tokens after a class token. The
    layer `shared` is called first on the turned image. `patches` returns a batch of patches.
    """

    def __init__(self, layout="map"):
        super().__init__()
        self.shared, self.patches, self.last = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.layout = layout
        self.backbone = nn.Module()
        self.backbone.num_extra_tokens = int(layout == "tokens")
        self.weight = nn.Parameter(torch.ones(1, 5, 1, 1))

    def forward(self, x):
        x = x.mean(dim=1, keepdim=True) * self.weight
        x = x + 0 * self.patches(x.unfold(3, 4, 4).permute(0, 3, 1, 2, 4).flatten(0, 1)).sum()
        x = self.shared(self.shared(x.flip(2, 3)).flip(2, 3))
        n, channels, height, width = x.shape
        if self.layout == "map":
            x = self.last(x)
        elif self.layout == "channels last":
            x = self.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            tokens = x.flatten(2).transpose(1, 2)
            tokens = self.last(torch.cat([tokens[:, :1], tokens], dim=1))[:, 1:]
            x = tokens.transpose(1, 2).reshape(n, channels, height, width)
        return x.mean(dim=1).unflatten(2, (2, -1)).unflatten(1, (2, -1)).mean(dim=(2, 4)).flatten(1)


def quarters(cam: np.ndarray) -> np.ndarray:
    return cam.reshape(2, 8, 2, 8).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize("eigen_smooth", [False, True])
@pytest.mark.parametrize("layer", ["shared", "last"])
@pytest.mark.parametrize("layout", ["map", "channels last", "tokens"])
def test_the_map_lies_in_the_quadrant_that_the_score_depends_on(layout, layer, eigen_smooth):
    torch.manual_seed(0)
    model, image = QuadrantNet(layout), torch.rand(1, 3, 16, 16) + 0.5
    for label in range(4):
        maps = {
            method: grayscale_cams(model, method, [layer], image, [label], eigen_smooth)[0]
            for method in ("layercam", "eigengradcam")
        }
        assert [quarters(cam).argmax() for cam in maps.values()] == [label, label]
        assert quarters(maps["layercam"])[label] > 5 * np.delete(quarters(maps["layercam"]), label).max()


class WholeNet(QuadrantNet):
    """Its only class scores all four quadrants."""

    def forward(self, x):
        return super().forward(x).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("layout", ["map", "channels last", "tokens"])
def test_the_last_layer_is_found_in_every_layout(layout):
    assert last_spatial_layer(WholeNet(layout), torch.rand(1, 3, 16, 16)) == "last"


def test_a_batch_of_patches_is_refused_by_name():
    with pytest.raises(ValueError, match=r"patches returns \(4, 5, 16, 4\) for 1 image"):
        grayscale_cams(QuadrantNet(), "gradcam", ["patches"], torch.rand(1, 3, 16, 16), [0])


def test_a_shared_module_whose_last_call_has_no_grid_is_not_the_layer():
    class Shrinking(WholeNet):
        def forward(self, x):
            return self.last(super().forward(x)[:, :, None, None]).flatten(1)

    assert last_spatial_layer(Shrinking(), torch.rand(1, 3, 16, 16)) == "shared"


def test_a_map_without_any_pixel_for_the_class_is_0_and_one_of_equal_pixels_is_1():
    image = torch.full((1, 3, 16, 16), 0.5)
    model = RednessNet()  # grey is neither red nor blue
    for method in METHODS:
        assert not grayscale_cams(model, method, ["colour"], image, [0]).any(), method
    image[:, 0] = 1
    assert (grayscale_cams(model, "gradcam", ["colour"], image, [0]) == 1).all()
    assert not grayscale_cams(model, "gradcam", ["colour"], image, [1]).any()


def test_rounding_errors_are_not_stretched_into_a_pattern():
    cam = np.full((4, 4), 3.0) + 1e-7 * np.random.default_rng(0).random((4, 4))
    assert (scaled(cam) == 1).all() and (scaled(1e-20 * np.eye(4)) == np.eye(4)).all()


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_network_that_is_not_finite_are_refused(method):
    model = RednessNet()
    nn.init.constant_(model.colour.weight, float("nan"))
    with pytest.raises(ValueError, match="at colour returns values that are not numbers"):
        grayscale_cams(model, method, ["colour"], scene(), [0])


@pytest.mark.parametrize("method", ["gradcam++", "xgradcam"])
def test_activations_that_cancel_out_do_not_make_a_channel_count_without_bound(method):
    """Without a ReLU, a channel's activations can add up to almost 0, by which the methods divide."""
    activations = np.zeros((1, 2, 2, 2), np.float32)
    activations[0, 0] = [[1, -1], [1, -1 - 1e-6]]  # adds up to almost 0
    activations[0, 1] = [[0, 0], [0, 4]]
    grads = np.full((1, 2, 2, 2), 0.5, np.float32)
    (cam,) = spoken(method, activations, grads, eigen_smooth=False)
    assert cam.argmax() == 3 or cam[1, 1] >= cam.max() / 2


def test_a_layer_that_the_score_does_not_depend_on_is_refused():
    class ByToken(QuadrantNet):
        def forward(self, x):
            return self.last(x.flatten(2).transpose(1, 2)[:, :17])[:, 0]

    with pytest.raises(ValueError, match="score does not depend on the grid of last"):
        check_layers(ByToken("tokens"), ["last"], torch.rand(1, 3, 8, 8))


ARCHITECTURES = {
    "resnet": (dict(type="ResNet", depth=18), 512, "backbone.layer4"),
    "efficientnet": (dict(type="EfficientNet", arch="b0"), 1280, "backbone.layers.6"),
    "mobilenet": (dict(type="MobileNetV2", widen_factor=0.35), 1280, "backbone.conv2"),
    "convnext": (dict(type="ConvNeXt", arch="atto"), 320, "backbone.stages.3"),
    "vit": (
        dict(
            type="VisionTransformer",
            arch={"embed_dims": 32, "num_layers": 3, "num_heads": 2, "feedforward_channels": 64},
            img_size=64,
            patch_size=16,
        ),
        32,
        "backbone.layers.2.ln1",
    ),
    "swin": (
        dict(
            type="SwinTransformer",
            arch={"embed_dims": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
            img_size=64,
            window_size=2,
        ),
        64,
        "backbone.norm3",
    ),
}


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_default_layer_of_every_architecture_gives_maps_by_every_method(name):
    backbone, channels, expected = ARCHITECTURES[name]
    head = "VisionTransformerClsHead" if name == "vit" else "LinearClsHead"
    neck = None if name in ("vit", "convnext") else dict(type="GlobalAveragePooling")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(
            dict(
                type="ImageClassifier",
                backbone=backbone,
                neck=neck,
                head=dict(type=head, num_classes=5, in_channels=channels),
            )
        ).eval()
    model.init_weights()
    torch.nn.init.normal_(next(model.head.parameters()))
    for layer in model.modules():  # running means of real activations: untrained ones fade to nothing
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.rand(8, 3, 64, 64))
    model.eval()
    inputs = torch.rand(1, 3, 64, 64)
    layer = last_spatial_layer(model, inputs.clone())
    assert layer == expected
    for method in METHODS:
        cams = grayscale_cams(model, method, [layer], inputs.repeat(5, 1, 1, 1), [0, 1, 2, 3, 4])
        # against a class nothing may speak; not against all
        assert cams.shape == (5, 64, 64) and cams.std(axis=(1, 2)).max() > 0.01, method


def test_an_unknown_layer_is_named_with_near_ones():
    model = nn.Sequential(RednessNet())
    with pytest.raises(ValueError, match=r"has no layer '0.color'. Near: 0.colour"):
        grayscale_cams(model, "gradcam", ["0.color"], scene(), [0])


def test_a_layer_without_a_grid_is_refused():
    class Pooled(RednessNet):
        def __init__(self):
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            return self.pool(self.colour(x)).flatten(1)

    with pytest.raises(
        ValueError, match=r"pool returns \(1, 2, 1, 1\) for 1 image.*; expected \(1, C, H, W\)"
    ):
        grayscale_cams(Pooled(), "gradcam", ["pool"], scene(), [0])


def test_the_overlay_is_half_image_half_colour():
    image = np.full((2, 3, 3), 100, np.uint8)
    cam = np.array([[0.0, 0.0, 1.0]] * 2, np.float32)
    shown = overlay(image, cam)
    red, green, blue = (2 * shown[0, 2].astype(int) - 100).tolist()
    assert red > 100 and green < 40 and blue < 40  # turbo's dark red
    with pytest.raises(ValueError, match="differ in size"):
        overlay(image, cam.T)
