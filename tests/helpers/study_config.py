"""The config of a study that takes seconds."""

CONFIG = """
import importlib.util

VARIANTS = {{"good": {{}}, "bad": {{"train.learning_rate": 1e30}}}}
STUDIES = {{"both": ("good", "bad")}}


def get_config(variant):
    spec = importlib.util.spec_from_file_location("smoke", "configs/smoke.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = module.get_config()
    c.data.dir = {data_dir!r}
    c.update_from_flattened_dict(VARIANTS[variant])
    return c
"""
