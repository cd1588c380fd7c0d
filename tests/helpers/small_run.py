"""The config of a run that takes seconds."""


def smoke(data_dir, tmp_path, **train):
    import importlib.util

    spec = importlib.util.spec_from_file_location("smoke", "configs/smoke.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = module.get_config()
    c.data.dir = data_dir
    c.export_dir = str(tmp_path / "models")
    c.train.update(train)
    return c
