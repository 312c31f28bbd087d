"""Class activation maps: which pixels spoke for a class. The channel weights are pytorch-grad-cam's."""

from itertools import product

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from stages.core.explaining.layers import as_grid, last_outputs, module_named

METHODS = ("gradcam", "gradcam++", "xgradcam", "eigencam", "eigengradcam", "layercam")
ROUNDING = 1e-5
"""Differences smaller than this share of what they are computed from are rounding errors."""


def grayscale_cams(
    model: nn.Module,
    method: str,
    layers: list[str],
    inputs: Tensor,
    labels: list[int],
    eigen_smooth: bool = False,
    aug_smooth: bool = False,
) -> np.ndarray:
    """One map for each image and the class of its label, from 0 (spoke least) to 1 (spoke most).

    inputs: (N, 3, H, W), normalised as in training. Returns (N, H, W), float32. A map is 0 everywhere
    if no pixel spoke for the class. Two maps cannot be compared by colour, as each is scaled by itself.
    Raises ValueError for a layer that has no map, and for maps that are not numbers.
    """
    modules = {name: module_named(model, name) for name in layers}
    if not aug_smooth:
        return maps_of(model, modules, method, inputs, labels, eigen_smooth)
    maps = []
    for mirrored, brightness in product((False, True), (0.9, 1, 1.1)):
        seen = (inputs.flip(-1) if mirrored else inputs) * brightness
        made = maps_of(model, modules, method, seen, labels, eigen_smooth)
        maps.append(made[:, :, ::-1] if mirrored else made)
    return np.mean(maps, axis=0, dtype=np.float32)


def maps_of(
    model: nn.Module,
    modules: dict[str, nn.Module],
    method: str,
    inputs: Tensor,
    labels: list[int],
    eigen_smooth: bool,
) -> np.ndarray:
    # what the layers return, and how the score changes with it
    with torch.enable_grad(), last_outputs(modules) as outputs:
        scores = model(inputs)
    outputs = {name: outputs[name] for name in modules if name in outputs}
    if len(outputs) < len(modules):
        unused = ", ".join(name for name in modules if name not in outputs)
        raise ValueError(f"cam.target_layers: the network does not call {unused}. Name another layer.")
    grids = {name: as_grid(model, name, output, len(inputs)) for name, output in outputs.items()}
    score = sum(row[label] for row, label in zip(scores, labels, strict=True))
    grads = torch.autograd.grad(score, list(outputs.values()), allow_unused=True)

    # a map for each layer, and their mean
    size = (inputs.shape[-1], inputs.shape[-2])
    maps = []
    for (name, grid), grad in zip(grids.items(), grads, strict=True):
        if grad is None:
            raise ValueError(
                f"cam.target_layers: the score does not depend on {name}. Name another layer."
            )
        activations = grid.detach().cpu().numpy()
        slopes = as_grid(model, name, grad, len(inputs)).cpu().numpy()
        cams = spoken(method, activations, slopes, eigen_smooth)
        if not np.isfinite(cams).all():
            raise ValueError(
                f"{method} at {name} returns values that are not numbers: the network's weights or "
                "features are not finite, so no map is right. Run `dvc repro train`."
            )
        maps.append([cv2.resize(scaled(cam), size) for cam in cams])
    return np.stack([scaled(cam) for cam in np.mean(maps, axis=0, dtype=np.float32)])


def spoken(method: str, activations: np.ndarray, grads: np.ndarray, eigen_smooth: bool) -> np.ndarray:
    """How much each cell of the grid spoke for the class, at least 0; (N, C, h, w) -> (N, h, w)."""
    # what each channel adds
    if method == "eigencam":
        parts = activations
    elif method == "eigengradcam":
        parts = grads * activations
    elif method == "layercam":  # Jiang et al. 2021, https://ieeexplore.ieee.org/document/9462463
        parts = np.maximum(grads, 0) * activations
    else:
        # xgradcam and gradcam++ divide by sums of activations, which must not cancel out where a layer
        # has no ReLU
        amounts = np.maximum(activations, 0)
        parts = channel_weights(method, amounts, grads)[:, :, None, None] * activations

    # their sum, or their first principal component
    if method == "eigencam":  # Muhammad and Yeasin 2020, https://arxiv.org/abs/2008.00299
        cams = first_component(parts, (parts**2).sum(axis=1))
    elif method == "eigengradcam" or eigen_smooth:
        cams = first_component(parts, parts.sum(axis=1))
    else:
        cams = parts.sum(axis=1)
    noise = ROUNDING * np.abs(parts).sum(axis=1)
    return np.where(np.isfinite(cams) & (cams <= noise), 0, cams)


def channel_weights(method: str, activations: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """Of the methods that weigh whole channels; (N, C, h, w) twice -> (N, C)."""
    # imported here, as it brings scikit-learn and Matplotlib, which take as long as PyTorch
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, XGradCAM

    weigh = {
        "gradcam": GradCAM,  # Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391
        "gradcam++": GradCAMPlusPlus,  # Chattopadhyay et al. 2018, https://arxiv.org/abs/1710.11063
        "xgradcam": XGradCAM,  # Fu et al. 2020, https://arxiv.org/abs/2008.02312
    }[method]
    return weigh.get_cam_weights(None, None, None, None, activations, grads)


def scaled(cam: np.ndarray) -> np.ndarray:
    """From 0 to 1; all 1 for a map that is the same everywhere, and all 0 for one that is 0."""
    low, high = cam.min(), cam.max()
    if high - low <= ROUNDING * high:
        return np.full(cam.shape, float(high > 0), np.float32)
    return ((cam - low) / (high - low)).astype(np.float32)


def first_component(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Projection on the first principal component, signed so that it rises where `reference` does.

    features: (N, C, h, w), reference: (N, h, w): how strong the features are, or how much they speak for
    the class. SVD leaves the sign open. Returns (N, h, w).
    """
    maps = []
    for pixels, strength in zip(features, reference, strict=True):
        if not np.isfinite(pixels).all():
            maps.append(np.full(strength.shape, np.nan))
            continue
        rows = pixels.reshape(len(pixels), -1).T.astype(np.float64)  # (h * w, C)
        rows = rows - rows.mean(axis=0)
        _, _, components = np.linalg.svd(rows, full_matrices=False)
        projection = (rows @ components[0]).reshape(strength.shape)
        rises = (projection * (strength - strength.mean())).sum() >= 0
        maps.append(projection if rises else -projection)
    return np.stack(maps).astype(np.float32)


def overlay(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The map in colours over the image, half and half: red spoke most, blue least.

    image: (H, W, 3) uint8 RGB; cam: (H, W) in [0, 1]. Returns (H, W, 3) uint8 RGB.
    """
    if image.shape[:2] != cam.shape:
        raise ValueError(f"image {image.shape[:2]} and map {cam.shape} differ in size")
    levels = np.floor(cam * 255 + 0.5).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, :, ::-1]
    return ((image.astype(np.uint16) + colours) // 2).astype(np.uint8)
