"""A method for tests: always the most frequent class. It is quick, and needs no encoder and no network."""

import sys
from typing import ClassVar

import numpy as np
import toy
from toy_package import write_ngrams

from jabert import config
from jabert.config import MethodSettings, Positive
from jabert.methods import Description, Export, Fitted, Layer, Member, Method


class ToySettings(MethodSettings):
    kind: str = "toy"
    smoothing: Positive = 1.0


class Toy(Method):
    settings_type = ToySettings
    summary = "always the most frequent class"
    cost = "nothing"
    needs = ("texts",)
    fits: ClassVar[list[int]] = []
    """Rows of each fit since the method was installed."""

    def fit(self, job, train, validation, on_epoch):
        self.fits.append(len(train))
        counts = np.bincount(train.classes, minlength=len(job.labels)) + job.settings.method.smoothing
        np.save(job.folder / "counts.npy", counts)
        return Fitted(metrics={"rows": len(train)})

    def predict(self, job, rows):
        counts = np.load(job.folder / "counts.npy")
        return np.tile(counts / counts.sum(), (len(rows), 1))

    def export(self, job, target):
        bias = np.log(np.load(job.folder / "counts.npy"))
        write_ngrams(target, ["a"], np.zeros((1, len(job.labels))), bias)
        return Export((Member("ngrams", ("scikit-learn",)),))

    def describe(self, job, fitted):
        layers = [Layer("text", "any", "()", 0), Layer("counts", "share", "(classes)", len(job.labels))]
        return Description("The most frequent class, always", layers)


METHOD = Toy()


def install(monkeypatch):
    """Let there be a kind `toy` until the test is over."""
    kinds = [*config.method_kinds(), "toy"]
    monkeypatch.setitem(sys.modules, "jabert.methods.toy", sys.modules[__name__])
    monkeypatch.setattr("jabert.config.method_kinds", lambda: kinds)
    Toy.fits.clear()


def settings_of(table, *overrides):
    """Settings of a quick experiment with the toy method, on a toy table."""
    return toy.settings_of(table, "method.kind=toy", *overrides)
