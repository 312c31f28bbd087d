"""The layer of a head that computes the class scores."""

from torch import nn


def last_linear(head: nn.Module, num_classes: int) -> nn.Linear:
    """The layer that computes the class scores. Raises ValueError unless it is one linear layer."""
    found = [
        (name, layer)
        for name, layer in head.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == num_classes
    ]
    if len(found) != 1 or found[0][1].bias is None:
        names = ", ".join(name for name, _ in found) or "none"
        raise ValueError(
            f"params.yaml: train.strategy: the head {type(head).__name__} has {len(found)} linear "
            f"layers with {num_classes} outputs ({names}); fitting it needs exactly one, with a bias. "
            "Set train.strategy to finetune in params.yaml."
        )
    return found[0][1]
