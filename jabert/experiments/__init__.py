"""Experiments: the steps from data to an evaluation, each found by a key, and a retraining on top of one.

`steps` makes or finds results in folders (`store`), `experiment` runs and records them (`recording`),
`packaging` makes the registered model's files, `retraining` registers, judges and describes a version, by
`keys` that tell what was judged before. `promotion` is the gate by hand.
"""

from jabert.experiments.experiment import Experiment, run

__all__ = ["Experiment", "run"]
