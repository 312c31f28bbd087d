"""Set keys of a config that exist, and no others."""

from mmengine.config import Config, ConfigDict


def set_values(cfg: Config | ConfigDict, values: dict) -> None:
    """Set dotted keys that already exist; a number addresses an element of a list.

    Raises ValueError for a key the config does not know: mmengine would ignore it in silence.
    """
    for name, value in values.items():
        *parents, key = name.split(".")
        target = cfg
        for step in (*parents, None):
            known = range(len(target)) if isinstance(target, list) else list(target.keys())
            step_or_key = key if step is None else step
            if isinstance(target, list):
                step_or_key = int(step_or_key)
            if step_or_key not in known:
                raise ValueError(
                    f"config key {name!r} is unknown to the base: {step_or_key!r} is not one of "
                    f"{', '.join(map(str, known))}. Add it to configs/finetune.py."
                )
            if step is None:
                target[step_or_key] = value
            else:
                target = target[step_or_key]
