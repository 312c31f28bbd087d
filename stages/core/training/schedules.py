"""Learning rates over the steps and over the layers of a network."""

from mmengine.config import Config
from mmengine.optim.scheduler import LinearLR
from mmengine.registry import PARAM_SCHEDULERS
from torch.nn import Module


@PARAM_SCHEDULERS.register_module()
class WarmUp(LinearLR):
    """LinearLR that does nothing when the warm-up is a single step.

    mmengine would scale the rate down in that step and never bring it back.
    """

    def __init__(self, optimizer, *, begin: int, end: int, start_factor: float, **options):
        factor = start_factor if end - begin > 1 else 1.0
        super().__init__(optimizer, begin=begin, end=end, start_factor=factor, **options)


def check_layer_depths(model: Module, cfg: Config) -> None:
    """Raise ValueError if train.layer_decay is set and MMPretrain knows no layer depths of the model."""
    if "layer_decay_rate" not in cfg.optim_wrapper.paramwise_cfg:
        return
    try:
        for name, _ in model.named_parameters():
            model.get_layer_depth(name)
    except NotImplementedError:
        raise ValueError(
            f"params.yaml: train.layer_decay is {cfg.optim_wrapper.paramwise_cfg.layer_decay_rate}, but "
            f"MMPretrain knows no layer depths of {type(model.backbone).__name__}; it does of ViT, "
            "Swin, ConvNeXt and ResNets of 50 layers and more. Set it to 1."
        ) from None
