"""What is here, what is missing, and what to do about it. Looks only: nothing is written or made."""

from jabert.config import Settings
from jabert.doctor import machine, stores
from jabert.doctor.check import Check

__all__ = ["Check", "examine"]


def examine(settings: Settings) -> list[Check]:
    """Look at everything that a run with these settings would need; takes about 15 seconds.

    A store or folder that the first run makes is fine when it is missing.
    """
    return [
        machine.python(),
        *machine.libraries(),
        *machine.device(settings.encoder.device),
        machine.engine(settings.encoder),
        machine.font(),
        *machine.disk([settings.features.path, settings.training.work_path]),
        machine.prefect_api(),
        stores.encoder(settings),
        stores.features(settings.features.path),
        stores.work(settings.training.work_path),
        *stores.tracking(settings.tracking),
    ]
