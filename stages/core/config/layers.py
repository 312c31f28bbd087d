"""How deep in a network each parameter is: layer-wise learning rates fall with the way to the head."""

import re
from collections.abc import Iterator

from torch import nn

from stages.core.networks.skeleton import run

BLOCK = re.compile(
    r"""backbone\.(
        [a-z]+\.\d+\.blocks\.\d+                                # Swin V2, DaViT, TinyViT, CSPNet, MixMIM
        | (stages|network|layers)\.\d+\.\d+                      # Twins, HorNet, LeViT, EfficientNet
        | (layers|blocks|encoder|xca_layers|ca_layers)\.\d+     # ViT, HiViT, MViT, T2T, XCiT, TNT
        | (layer|stage_?|blocks)\d+\.\d+                        # ResNet, RegNet, RepVGG, MobileOne, VAN
        | (layer|(conv_)?trans_)\d+                             # MobileNetV3, Conformer
    )(?=\.)""",
    re.VERBOSE,
)
"""The numbered block that a parameter belongs to, by its name."""


def layer_rates(network: nn.Module, size: int, decay: float) -> dict[str, float]:
    """Factors on the learning rate by the start of a parameter's name; the longest that fits counts.

    network: a skeleton. decay: the factor from each layer to the one before it (Clark et al. 2020,
    https://arxiv.org/abs/2003.10555). Raises ValueError for a network without numbered blocks.
    """
    depths = layer_depths(network, size)
    last = max(depths.values())
    factors = {name: round(decay ** (last - depth), 6) for name, depth in depths.items()}
    return dict(by_start(network, factors))


def layer_depths(network: nn.Module, size: int) -> dict[str, int]:
    """Of each parameter: 0 before the first block, then one more for each block, and last the head's.

    Where MMPretrain's own depths tell each block from the head, they are taken: they group the blocks
    of long stages. Elsewhere each block is a layer.
    """
    begun, count = blocks_begun(network, size)
    if count < 2:
        raise ValueError(
            f"params.yaml: train.layer_decay is set, but {type(network.backbone).__name__} has no "
            "numbered blocks that tell how deep a layer is. Set it to 1."
        )
    depths = library_depths(network)
    head = max(depths.values(), default=0)
    if any(BLOCK.match(name) and depth == head for name, depth in depths.items()) or not depths:
        depths = {
            name: before if BLOCK.match(name) or before < count else count + 1
            for name, before in begun.items()
        }
    # what comes before the first block is the first layer, whatever its name
    return {name: depth if begun[name] else 0 for name, depth in depths.items()}


def library_depths(network: nn.Module) -> dict[str, int]:
    """MMPretrain's depth of each parameter; empty where it knows none."""
    try:
        return {name: network.get_layer_depth(name)[0] for name, _ in network.named_parameters()}
    except (AttributeError, NotImplementedError):
        return {}


def blocks_begun(network: nn.Module, size: int) -> tuple[dict[str, int], int]:
    """The blocks begun when a parameter is first used, its own included; the number of blocks."""
    blocks: dict[str, int] = {}
    begun: dict[str, int] = {}

    def note(names: list[str]) -> None:
        for name in names:
            if match := BLOCK.match(name):
                blocks.setdefault(match[0], len(blocks) + 1)
            begun.setdefault(name, len(blocks))

    handles = []
    for path, module in network.named_modules():
        names = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
        handles.append(module.register_forward_pre_hook(lambda *_, names=names: note(names)))
    run(network, size)
    for handle in handles:
        handle.remove()

    for name, _ in network.named_parameters():  # some modules are not called, only read
        match = BLOCK.match(name)
        begun[name] = blocks.get(match[0], 0) if match else begun.get(name, 0)
    return begun, len(blocks)


def by_start(
    module: nn.Module, values: dict[str, float], start: str = ""
) -> Iterator[tuple[str, float]]:
    """`values` of parameters, with one entry for a module in which all are equal."""
    own = {value for name, value in values.items() if name.startswith(start)}
    if start and len(own) == 1:
        yield start, own.pop()
    elif own:
        for name, _ in module.named_parameters(recurse=False):
            yield start + name, values[start + name]
        for name, child in module.named_children():
            yield from by_start(child, values, f"{start}{name}.")
