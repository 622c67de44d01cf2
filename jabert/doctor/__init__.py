"""Checks of the installation and the stores, each with a remedy where it fails. Nothing is written."""

from jabert.config import Settings
from jabert.doctor import machine, stores
from jabert.doctor.check import Check

__all__ = ["Check", "examine"]


def examine(settings: Settings) -> list[Check]:
    """Check everything that a run with these settings needs; takes about 15 seconds.

    A missing store or folder that the first run creates is no failure.
    """
    return [
        machine.python(),
        *machine.libraries(),
        *machine.device(settings.encoder.device),
        machine.engine(settings.encoder),
        machine.font(),
        *machine.disk([settings.features.path, settings.training.work_path]),
        *machine.proxy(),
        machine.prefect_api(),
        stores.encoder(settings),
        stores.features(settings.features.path),
        stores.work(settings.training.work_path),
        *stores.tracking(settings.tracking),
    ]
