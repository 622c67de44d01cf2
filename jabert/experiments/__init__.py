"""The stages of a job, from files of a work folder to files of it; flows string them together.

`retraining` makes a registered model of labelled texts, `pretraining` an encoder of raw text. `validation`
is the check of the texts alone, `promotion` the gate by hand. `work` is the folder of an unfinished run,
`recording` what a stage leaves in MLflow.
"""

__all__: list[str] = []
