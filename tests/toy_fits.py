"""Fits of any method on the toy table and the toy encoder, through the steps of an experiment."""

import toy

from jabert.config import load_settings
from jabert.experiments import steps
from jabert.methods import method_of


def settings_of(kind, table, encoder, *more):
    """Of a quick fit of a method."""
    quick = [each for each in toy.quick_settings(table, encoder) if not each.startswith("method.")]
    own = ["method.units=8"] if kind in ("bi-lstm", "word2vec") else []
    return load_settings(None, [*quick, f"method.kind={kind}", *own, *more])


def results_of(settings, measured_on="test"):
    """Data, tokens and fit of a method, whatever it needs."""
    data, tokens = steps.read(settings), None
    needs = method_of(settings).needs
    if {"tokens", "vectors"} & set(needs):
        tokens = steps.tokenize(settings, data)
    if "vectors" in needs:
        steps.featurize(settings, tokens)
    return data, tokens, steps.fit(settings, data, tokens, measured_on, on_epoch=lambda epoch: None)
