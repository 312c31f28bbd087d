"""Learning rates over the steps, and rates and weight decay over the parameters of a network."""

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.optim.scheduler import LinearLR
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS
from torch import nn


@PARAM_SCHEDULERS.register_module()
class WarmUp(LinearLR):
    """LinearLR that does nothing when the warm-up is a single step.

    mmengine would scale the rate down in that step and never bring it back.
    """

    def __init__(self, optimizer, *, begin: int, end: int, start_factor: float, **options):
        factor = start_factor if end - begin > 1 else 1.0
        super().__init__(optimizer, begin=begin, end=end, start_factor=factor, **options)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedParameters(DefaultOptimWrapperConstructor):
    """One group for all parameters of the same learning rate and weight decay, so that steps stay fast.

    paramwise_cfg: `rates`, factors on the learning rate by the start of a parameter's name, of which
    the longest that fits counts; `decay`, what decays: `all`, or `weights`, those of linear and
    convolutional layers, and neither biases, norms, tokens, position tables nor scales.
    """

    def add_params(self, params: list[dict], module: nn.Module, **_) -> None:
        rates, decay = self.paramwise_cfg["rates"], self.paramwise_cfg["decay"]
        weights = {id(layer.weight) for layer in module.modules() if isinstance(layer, MULTIPLYING)}
        groups: dict[tuple, list] = {}
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                start = max((start for start in rates if name.startswith(start)), key=len, default="")
                decays = decay == "all" or id(parameter) in weights
                groups.setdefault((rates.get(start, 1.0), decays), []).append(parameter)
        for (rate, decays), group in groups.items():
            weight_decay = self.base_wd if decays else 0.0
            params.append(dict(params=group, lr=self.base_lr * rate, weight_decay=weight_decay))


MULTIPLYING = (nn.Linear, nn.modules.conv._ConvNd)
"""Layers whose weights multiply what they get."""
