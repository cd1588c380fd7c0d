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


def save_untrained(directory, data_dir, **changes):
    """A run without a step.

    Args:
      directory: of the run.
      data_dir: of its data.
      **changes: of the config, by their path.
    """
    import keras

    from tf_structvae.training.experiment import Experiment

    config = smoke(data_dir, directory.parent)
    config.update_from_flattened_dict(changes)
    experiment = Experiment(config, directory)
    experiment.start()
    experiment.checkpoints.save(0)
    keras.backend.clear_session()
    return directory
