"""A network tried before it is trained: by its skeleton, which computes shapes and no values."""

import copy
from collections.abc import Mapping

from torch import nn

from stages.core.networks.skeleton import run, skeleton
from stages.core.zoo.limits import class_name


def accepting(model: Mapping, size: int, own: int, name: str) -> tuple[Mapping, nn.Module]:
    """`model` for images of `size` pixels, and its skeleton. Raises ValueError if it accepts others.

    model: the `model` of the config to render, as its pretrained weights are. own: the image size of
    weights.model `name`.
    """
    pretrained = skeleton(model)
    found = tried(model, size, pretrained)
    if not isinstance(found, Exception):
        return found
    sizes = {step * count for step in (14, 16) for count in range(1, 2 * size // step + 1)} | {own}
    for other in sorted(sizes, key=lambda other: abs(other - size)):
        if not isinstance(tried(model, other, pretrained), Exception):
            raise ValueError(
                f"params.yaml: image.size is {size}, but {name} ({class_name(model.backbone)}) does not "
                f"accept images of that size; it was trained with {own} pixels. Set image.size to "
                f"{other}, which it accepts, and image.resize to 0, or choose another model."
            )
    raise ValueError(
        f"params.yaml: weights.model {name} ({class_name(model.backbone)}) cannot compute an image of "
        f"{size} or {own} pixels: {' '.join(str(found).split())}. Choose another model."
    )


def tried(model: Mapping, size: int, pretrained: nn.Module) -> tuple[Mapping, nn.Module] | Exception:
    """`model` for images of `size` pixels, and its skeleton; or why it cannot be built, loaded or run.

    Networks fail in their own ways (assertions, shapes, indices), so any exception counts.
    """
    resized = sized(model, size)
    # tables that are computed from the image size are no parameters
    weights = {name: value.detach() for name, value in pretrained.named_parameters()}
    try:
        network = skeleton(resized)
        network.load_state_dict(weights, strict=False, assign=True)
        run(network, size)
    except Exception as error:
        if "pad_small_map=True" not in str(error):  # Swin's grid is smaller than its window
            return error
        padded = copy.deepcopy(model)
        padded.backbone.pad_small_map = True
        return tried(padded, size, pretrained)
    return resized, network


def sized(model: Mapping, size: int) -> Mapping:
    model = copy.deepcopy(model)
    if "img_size" in model.backbone:
        two_numbers = isinstance(model.backbone.img_size, (tuple, list))
        model.backbone.img_size = (size, size) if two_numbers else size
    return model
