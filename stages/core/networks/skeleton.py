"""A network without numbers: built and run on torch's meta device, in a fifth of a second.

Its code computes the shapes of all tensors and no values. So it shows early, and for any network, what
training would meet: whether it accepts an image size, which parameters it trains, in which order it
computes.
"""

from collections.abc import Mapping

import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stages.core.networks import corrections, efficientnet_lite  # noqa: F401 (they register networks)

ALLOCATE = {torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros}


class WithoutNumbers(TorchFunctionMode):
    """Parameters are allocated on the meta device, and the short tables that constructors read are not.

    `with torch.device("meta")` takes both, and many constructors read e.g. the drop rates of the blocks.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in ALLOCATE and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def skeleton(model: Mapping) -> nn.Module:
    """The network of a rendered config's `model`. Raises what its constructor raises."""
    with DefaultScope.overwrite_default_scope("mmpretrain"), WithoutNumbers():
        network = MODELS.build(model)
    return network.to("meta").eval()


@torch.no_grad()
def run(network: nn.Module, size: int) -> Tensor:
    """What a skeleton computes of two square images: class scores, or features if it has no head."""
    with torch.device("meta"):
        output = network(torch.empty(2, 3, size, size))
    return output[-1] if isinstance(output, (tuple, list)) else output


def frozen(network: nn.Module) -> list[str]:
    """What training would leave as it is: parameters but fixed position tables, and norms of batches."""
    network.train()
    parameters = [
        name
        for name, parameter in network.named_parameters()
        if not (parameter.requires_grad or name.endswith(("pos_embed", "relative_pos")))
    ]
    norms = [name for name, module in network.named_modules() if not module.training]
    network.eval()
    return parameters + norms
