"""The layers of a network that have a spatial grid, and their output as one."""

from difflib import get_close_matches
from math import isqrt

import torch
from torch import Tensor, nn

# their outputs are parts of a block, not the image's features
PARTS = (nn.Linear, nn.Dropout, nn.Identity)


def last_spatial_layer(model: nn.Module, inputs: Tensor) -> str:
    """The last layer with a spatial grid, all over which the score depends on its output.

    inputs: (1, 3, H, W). In a ResNet the last stage, in a ConvNeXt the stage before the pooled norm, in
    a ViT that classifies by a token the last block's first norm: what comes after has no gradient at
    the image's tokens. Raises ValueError when there is none.
    """
    outputs: list[tuple[str, Tensor]] = []
    handles = []
    for name, module in model.named_modules():
        if name and not name.startswith(("head", "data_preprocessor")) and not isinstance(module, PARTS):
            handles.append(
                module.register_forward_hook(lambda _, __, out, name=name: outputs.append((name, out)))
            )
    try:
        with torch.enable_grad():
            score = model(inputs.requires_grad_())[0].max()
    finally:
        for handle in handles:
            handle.remove()
    candidates = [
        (name, output) for name, output in outputs if is_spatial(model, output) and output.requires_grad
    ]
    grads = torch.autograd.grad(score, [output for _, output in candidates], allow_unused=True)
    for (name, _), grad in reversed(list(zip(candidates, grads, strict=True))):
        if grad is not None:
            reached = as_grid(model, grad).abs().sum(dim=1) > 0  # (1, h, w)
            if reached.float().mean() > 0.5:
                return name
    raise ValueError(
        "no layer with a spatial grid was found in the model. Name one in cam.target_layers; "
        f"candidates: {', '.join(name for name, _ in candidates[-10:]) or 'none'}."
    )


def is_spatial(model: nn.Module, output: object) -> bool:
    if not isinstance(output, Tensor):
        return False
    if output.dim() == 4:
        return output.shape[-1] > 1 and output.shape[-2] > 1
    if output.dim() == 3:
        side = isqrt(max(output.shape[1] - extra_tokens(model), 0))
        return side > 1 and side * side == output.shape[1] - extra_tokens(model)
    return False


def as_grid(model: nn.Module, output: Tensor) -> Tensor:
    """(N, C, h, w) as it is; tokens (N, L, C) as (N, C, h, w), without class and distillation tokens.

    Raises ValueError for anything else.
    """
    if not is_spatial(model, output):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"cam.target_layers: a layer returns {shape}; expected (N, C, H, W), or the tokens of a "
            "square grid. Name an earlier layer."
        )
    if output.dim() == 4:
        return output
    tokens = output[:, extra_tokens(model) :]
    side = isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


def extra_tokens(model: nn.Module) -> int:
    return getattr(getattr(model, "backbone", None), "num_extra_tokens", 0)


def module_named(model: nn.Module, name: str) -> nn.Module:
    """Raises ValueError that names near layers."""
    modules = dict(model.named_modules())
    if name not in modules or not name:
        near = get_close_matches(name, modules, n=3) or [n for n, _ in model.backbone.named_children()]
        raise ValueError(
            f"cam.target_layers: the model has no layer {name!r}. Near: {', '.join(near[:10])}."
        )
    return modules[name]
