"""Set the keys that a config has, and no others."""

from mmengine.config import Config, ConfigDict


def set_values(cfg: Config | ConfigDict, values: dict) -> None:
    """Set dotted keys that already exist; a number addresses an element of a list.

    Raises ValueError for a key that the config does not have: mmengine would ignore it silently.
    """
    for name, value in values.items():
        *parents, last = name.split(".")
        target = cfg
        for step in parents:
            target = target[known_key(target, step, name)]
        target[known_key(target, last, name)] = value


def known_key(target: Config | ConfigDict | list, step: str, name: str) -> str | int:
    """`step` as a key of `target`, or as an index if that is a list; name: the whole dotted key."""
    key = int(step) if isinstance(target, list) else step
    known = range(len(target)) if isinstance(target, list) else list(target.keys())
    if key not in known:
        raise ValueError(
            f"config key {name!r} is unknown to the base: {key!r} is not one of "
            f"{', '.join(map(str, known))}. Add it to configs/finetune.py."
        )
    return key
