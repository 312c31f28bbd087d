"""The layers of a network that have a spatial grid, and their outputs as such grids."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from math import isqrt

import torch
from torch import Tensor, nn

# their outputs are parts of a block, not the image's features
PARTS = (nn.Linear, nn.Dropout, nn.Identity)


def last_spatial_layer(model: nn.Module, image: Tensor) -> str:
    """The last layer with a spatial grid, all over which the score depends on its output.

    image: (1, 3, H, W). In a ResNet the last stage, in a ConvNeXt the stage before the pooled norm, in
    a ViT that classifies by a token the last block's first norm: what comes after has no gradient at
    the image's tokens. Raises ValueError when there is none.
    """
    modules = {
        name: module
        for name, module in model.named_modules()
        if name and not name.startswith(("head", "data_preprocessor")) and not isinstance(module, PARTS)
    }
    shares = reached_shares(model, modules, image)
    for name in reversed(shares):
        if shares[name] > 0.5:
            return name
    raise ValueError(
        "no layer with a spatial grid was found in the model. Name one in cam.target_layers; "
        f"candidates: {', '.join(list(shares)[-10:]) or 'none'}."
    )


def check_layers(model: nn.Module, names: list[str], image: Tensor) -> None:
    """Raises ValueError unless each layer exists, has a grid, and the score depends on it."""
    modules = {name: module_named(model, name) for name in names}
    shares = reached_shares(model, modules, image)
    for name in names:
        if name in shares and shares[name] == 0:
            raise ValueError(
                f"cam.target_layers: the score does not depend on the grid of {name}. A network that "
                "classifies by a token uses the grid for the last time in its last attention: name an "
                "earlier layer, or leave cam.target_layers empty."
            )


def reached_shares(
    model: nn.Module, modules: Mapping[str, nn.Module], image: Tensor
) -> dict[str, float]:
    """The layers that have a grid, in the order of their calls, each with the share of the grid on which
    the score depends."""
    # two images, so that the patches of one cannot pass for a batch
    inputs = torch.cat([image, image.flip(-1)]).detach().requires_grad_()
    with torch.enable_grad(), last_outputs(modules) as outputs:
        score = model(inputs)[0].max()
    spatial = {
        name: output
        for name, output in outputs.items()
        if is_spatial(model, output, len(inputs)) and output.requires_grad
    }
    grads = torch.autograd.grad(score, list(spatial.values()), allow_unused=True)
    shares = {}
    for name, grad in zip(spatial, grads, strict=True):
        reached = torch.zeros(2, 1)
        if grad is not None:
            reached = as_grid(model, name, grad, len(inputs)).abs().sum(dim=1) > 0  # (2, h, w)
        if not reached[1].any():  # the other image's score is another
            shares[name] = reached[0].float().mean().item()
    return shares


@contextmanager
def last_outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, object]]:
    """What each module returns in a forward pass, in the order of their calls.

    Of a module that is called several times, the last call counts. The network continues with a copy,
    as a later layer may change it in place.
    """
    outputs = {}

    def keep(name: str, output: object) -> object:
        outputs.pop(name, None)  # a call moves it to the end
        outputs[name] = output
        return output.clone() if isinstance(output, Tensor) else output

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, module in modules.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def is_spatial(model: nn.Module, output: object, num_images: int) -> bool:
    """Whether it is a grid of more than one cell for each of the images."""
    if not isinstance(output, Tensor) or output.dim() == 0 or len(output) != num_images:
        return False
    if output.dim() == 4:
        return min(grid_first(output).shape[2:]) > 1
    return output.dim() == 3 and square_tokens(model, output) is not None


def as_grid(model: nn.Module, name: str, output: object, num_images: int) -> Tensor:
    """The output of the layer `name`, or its gradient, as (N, C, h, w).

    Square maps (N, h, h, C) and tokens (N, L, C) are rearranged; class and distillation tokens are left
    out. Raises ValueError for anything else.
    """
    if not is_spatial(model, output, num_images):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"cam.target_layers: {name} returns {shape} for {num_images} image(s); expected "
            f"({num_images}, C, H, W) with more than one cell, or the tokens of a square grid. Name "
            "an earlier layer, or leave cam.target_layers empty."
        )
    if output.dim() == 4:
        return grid_first(output)
    tokens = square_tokens(model, output)
    side = isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


def grid_first(output: Tensor) -> Tensor:
    """(N, h, h, C), as Swin Transformers of other libraries return it, as (N, C, h, h)."""
    _, first, second, third = output.shape
    return output.permute(0, 3, 1, 2) if first == second != third else output


def square_tokens(model: nn.Module, tokens: Tensor) -> Tensor | None:
    """The tokens (N, L, C) of a square grid, without those before it; None if they are no such grid.

    TNT has a class token, but no number of extra tokens. In XCiT the last layers alone have it.
    """
    backbone = getattr(model, "backbone", None)
    extra = getattr(backbone, "num_extra_tokens", int(hasattr(backbone, "cls_token")))
    for count in (extra, 0):
        length = tokens.shape[1] - count
        pooled = tokens.shape[2] == 1  # (N, C, 1): MixMIM's pooling
        if length > 1 and isqrt(length) ** 2 == length and not pooled:
            return tokens[:, count:]
    return None


def module_named(model: nn.Module, name: str) -> nn.Module:
    """Raises ValueError that names near layers."""
    modules = dict(model.named_modules())
    if name not in modules or not name:
        near = get_close_matches(name, modules, n=3) or [n for n, _ in model.backbone.named_children()]
        raise ValueError(
            f"cam.target_layers: the model has no layer {name!r}. Near: {', '.join(near[:10])}."
        )
    return modules[name]
