"""Which runs are evaluated, what they are called, and which are one recipe with several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_structvae.studies.feature_cache import fingerprint
from tf_structvae.training import workdir


def check_runs(workdirs: Sequence[str | Path], checkpoint: str) -> dict[str, Path]:
    """A short label for each run.

    Raises:
      ValueError: none, or one twice.
      FileNotFoundError: a directory without a run, or without the checkpoint.
    """
    if not workdirs:
        raise ValueError("workdir is missing; give it once for each model.")
    paths = [Path(w) for w in workdirs]
    twice = {str(p) for p in paths if [q.resolve() for q in paths].count(p.resolve()) > 1}
    if twice:
        raise ValueError(f"workdir {', '.join(sorted(twice))} is given more than once.")
    for path in paths:
        workdir.read_config(path)
        folder = path / "checkpoints" / ("best" if checkpoint == "best" else "")
        if not list(folder.glob("ckpt-*.index")):
            raise FileNotFoundError(f"workdir {path} holds no {checkpoint} checkpoint.")
    configs = [_config(p) for p in paths]
    names = [c["name"] for c in configs]
    kinds = [_kind(c) for c in configs]
    for choice in (names, [p.name for p in paths], [str(p) for p in paths]):
        if len(set(choice)) == len(paths):
            return {f"{k}, {c}": p for k, c, p in zip(kinds, choice, paths, strict=True)}
    raise AssertionError("paths differ")


def recipes(runs: Mapping[str, Path]) -> dict[str, str]:
    """For each label, what runs are called together that differ in their seed alone.

    That is kind and name of the config; where runs of one name differ in more than the seed, or
    not even in that, each run's own label.
    """
    configs = {label: _config(path) for label, path in runs.items()}
    names = {label: f"{_kind(c)}, {c['name']}" for label, c in configs.items()}

    def differ_in_seed_alone(own: list[dict[str, Any]]) -> bool:
        keys = {fingerprint(_without_seed(c)) for c in own}
        return len(keys) == 1 and len({c["seed"] for c in own}) == len(own)

    together = {
        name: differ_in_seed_alone([configs[k] for k in runs if names[k] == name])
        for name in set(names.values())
    }
    return {label: name if together[name] else label for label, name in names.items()}


def _config(path: Path) -> dict[str, Any]:
    return workdir.read_config(path).to_dict()


def _kind(config: Mapping[str, Any]) -> str:
    kinds = {"independent": "Standard VAE", "local_low_rank": "Our VAE, local"}
    return kinds.get(config["model"]["likelihood"], "Our VAE")


def _without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without seed and without where things lie."""
    data = {k: v for k, v in config["data"].items() if k not in ("dir", "manual_dir")}
    rest = {k: v for k, v in config.items() if k not in ("seed", "export_dir")}
    return {**rest, "data": data}
