"""A packaged toy classifier as the champion of a registry."""

import mlflow
import numpy as np
import toy

from jabert.config import load_settings
from jabert.encoder import open_folder
from jabert.experiments.packaging import build_package, log_package
from jabert.files import write_json
from jabert.methods import Job
from jabert.methods.bi_lstm.network import build_classifier
from jabert.tracking import tracked_run

UNITS = 6


def settings_in(root, encoder, *overrides):
    """Settings of a registry, a feature store and a work folder under `root`."""
    return load_settings(
        None,
        [
            f"tracking.uri=sqlite:///{root}/mlflow.db",
            f"features.path={root}/features",
            f"encoder.path={encoder}",
            f"encoder.cache_path={root}/engines",
            "encoder.device=cpu",
            "encoder.precision=float32",
            f"method.units={UNITS}",
            *overrides,
        ],
    )


def make_package(root, settings, seed=0):
    """Package a classifier of random weights; returns the folder.

    The weights are large, so that probabilities are far apart and a small difference shows.
    """
    folder, training = open_folder(settings.encoder.path), root / f"training-{seed}"
    training.mkdir(parents=True)
    random = np.random.default_rng(seed)
    columns = settings.features.layers * folder.config.hidden_size
    model = build_classifier(columns, len(toy.LABELS), UNITS)
    model.set_weights([random.normal(0, 1.2, weight.shape) for weight in model.get_weights()])
    model.save_weights(training / "best.h5")
    return build_package(Job(settings, toy.LABELS, folder, training), root / str(seed) / "package")


def make_champion(root, settings, seed=0):
    """Package, log, register and alias a classifier of random weights; returns the version."""
    package = make_package(root, settings, seed)
    with tracked_run(settings) as run:
        learned_from = write_json(root / "learned_from.json", {"rows": [], "groups": []})
        uri = log_package(package, learned_from, run)
    version = mlflow.register_model(uri, settings.tracking.model_name).version
    run.client.set_registered_model_alias(settings.tracking.model_name, "champion", version)
    return str(version)
