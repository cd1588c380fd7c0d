"""Whether a config has the fields of an experiment: a misspelt one is an error, not ignored."""

from __future__ import annotations

from difflib import get_close_matches

from ml_collections import ConfigDict

AT_MOST_STEPS = (("objective", "pretrain_steps"), ("train", "warmup_steps"))  # train.steps


def differences(config: ConfigDict, known: ConfigDict, prefix: str = "config.") -> list[str]:
    """A line for every field of `config` that `known` lacks, and the other way round."""
    lines = []
    for key in sorted({*config, *known}, key=str):
        path = f"{prefix}{key}"
        if key not in known:
            near = get_close_matches(str(key), list(known), n=1)
            lines.append(f"{path}: no such field" + (f"; is {near[0]} meant?" if near else ""))
        elif key not in config:
            lines.append(f"{path}: missing")
        elif isinstance(known[key], ConfigDict):
            if isinstance(config[key], ConfigDict):
                lines += differences(config[key], known[key], f"{path}.")
            else:
                lines.append(f"{path} = {config[key]!r}: must be a ConfigDict")
    return lines
