"""Class activation maps: which pixels spoke for a class. The methods are pytorch-grad-cam's."""

import cv2
import numpy as np
from pytorch_grad_cam import EigenCAM, EigenGradCAM, GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from stages.core.explaining.layers import as_grid, module_named

METHODS = {
    "gradcam": GradCAM,  # Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391
    "gradcam++": GradCAMPlusPlus,  # Chattopadhyay et al. 2018, https://arxiv.org/abs/1710.11063
    "xgradcam": XGradCAM,  # Fu et al. 2020, https://arxiv.org/abs/2008.02312
    "eigencam": EigenCAM,  # Muhammad and Yeasin 2020, https://arxiv.org/abs/2008.00299
    "eigengradcam": EigenGradCAM,
    "layercam": LayerCAM,  # Jiang et al. 2021, https://ieeexplore.ieee.org/document/9462463
}


def grayscale_cams(
    model: nn.Module,
    method: str,
    layers: list[str],
    inputs: Tensor,
    labels: list[int],
    eigen_smooth: bool = False,
    aug_smooth: bool = False,
) -> np.ndarray:
    """One map for each image and the class of its label, in [0, 1], scaled to its own maximum.

    inputs: (N, 3, H, W), normalised as in training. Returns (N, H, W), float32. Two maps cannot be
    compared by colour, as each is scaled by itself.
    """
    modules = [module_named(model, name) for name in layers]
    cam = oriented(METHODS[method])(model, modules, lambda tokens: as_grid(model, tokens))
    recorder = cam.activations_and_grads
    recorder.release()
    cam.activations_and_grads = ClonedActivations(model, modules, recorder.reshape_transform)
    try:
        targets = [ClassifierOutputTarget(label) for label in labels]
        # not `with cam`: its __exit__ swallows an IndexError
        maps = cam(inputs, targets, aug_smooth=aug_smooth, eigen_smooth=eigen_smooth)
    finally:
        cam.activations_and_grads.release()
        model.zero_grad(set_to_none=True)
    return np.nan_to_num(maps).astype(np.float32).clip(0, 1)


class ClonedActivations(ActivationsAndGradients):
    """The output of a layer, even when a later layer changes it in place, as ResNet's ReLU does."""

    def save_activation(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.activations.append(self.reshape_transform(output).detach().cpu().clone())


def oriented(base: type) -> type:
    """The method with principal components whose sign has a meaning; SVD leaves it open."""

    class Oriented(base):
        def get_cam_image(
            self, input_tensor, target_layer, targets, activations, grads, eigen_smooth=False
        ) -> np.ndarray:
            if base is EigenCAM:
                return first_component(activations, (activations**2).sum(axis=1))
            if base is EigenGradCAM:
                weighted = grads * activations
            elif not eigen_smooth:
                return super().get_cam_image(
                    input_tensor, target_layer, targets, activations, grads, False
                )
            elif base is LayerCAM:
                weighted = np.maximum(grads, 0) * activations
            else:
                weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
                weighted = weights[:, :, None, None] * activations
            return first_component(weighted, weighted.sum(axis=1))

    return Oriented


def first_component(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Projection on the first principal component, signed so that it rises where `reference` does.

    features: (N, C, h, w), reference: (N, h, w): how strong the features are, or how much they speak for
    the class. Returns (N, h, w).
    """
    maps = []
    for pixels, strength in zip(features, reference, strict=True):
        rows = np.nan_to_num(pixels).reshape(len(pixels), -1).T.astype(np.float64)  # (h * w, C)
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
