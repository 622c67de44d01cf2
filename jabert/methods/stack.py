"""Several methods joined, each with the weight that it deserves on texts that it did not learn from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field

from jabert.config import MethodSettings, Settings, with_method_of
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Method, Need, needs_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.methods._parts import Part
    from jabert.training.rows import Rows


class StackSettings(MethodSettings):
    """The members."""

    kind: str = "stack"
    members: Annotated[tuple[str, ...], Field(min_length=2)] = ("tfidf", "mean-pooling")
    """kinds of methods, or recipes, of which `[method]` and `[training]` count"""
    folds: Annotated[int, Field(ge=2)] = 5
    """parts of the rows, each predicted by members that learned from the others, to weigh the members; if a
    member chooses on validation rows, these weigh them"""


class Stack(Method):
    """A softmax layer on the logarithms of the members' probabilities, one weight for each member.

    The weights are fitted on out-of-fold predictions (stacked generalization, Wolpert 1992) and are not
    negative (Breiman 1996): a member that adds nothing to the others gets none, and is not packaged. Where
    they are fitted on validation rows, which are fewer, they come without a bias.

    Args:
        parts: the members; the method that `METHOD` is has none yet.
    """

    settings_type = StackSettings
    summary = "other methods joined by weights, without a network those of `tfidf` and `mean-pooling`"
    cost = "seconds to fit beside the vectors; serves at the cost of its members"
    needs: tuple[Need, ...] = ("texts", "vectors")
    revision = 2

    def __init__(self, parts: "tuple[Part, ...]" = ()) -> None:
        self._parts = parts
        methods = [part.method for part in parts]
        if methods:
            self.needs = needs_of(methods)
            self.reads = tuple(sorted({"training.seed", *(name for each in methods for name in each.reads)}))
            self.chooses = any(method.chooses for method in methods)
            self.refits = self.chooses and not all(method.chooses for method in methods)

    def bound_to(self, settings: Settings) -> "Stack":
        """See `Method.bound_to`."""
        from jabert.methods._parts import Part

        parts: list[Part] = []
        for recipe in cast(StackSettings, settings.method).members:
            own = with_method_of(settings, recipe)
            if own.method.kind == self.settings_type().kind:
                raise JabertError(f"setting method.members names {recipe!r}, and a stack cannot hold another")
            same = sum(part.settings.method.kind == own.method.kind for part in parts)
            parts.append(Part(f"{own.method.kind}-{same + 1}" if same else own.method.kind, own))
        return Stack(tuple(parts))

    def decides(self, settings: Settings) -> dict[str, Any]:
        """See `Method.decides`; what a recipe says decides, not its name."""
        own = {part.name: part.method.decides(part.settings) for part in self._parts}
        return {**super().decides(settings), "method.members": own}

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`."""
        import numpy as np
        from scipy.special import softmax

        from jabert.evaluation import weighted_f1
        from jabert.files import atomic_path, write_json
        from jabert.methods._linear import fit_weights
        from jabert.runtime.text_classifier import log_probabilities

        rows = validation if self.chooses else train
        predicted = self._held_out(job, train, validation)
        known = np.isfinite(predicted).all(axis=(0, 2))
        true, logarithms = rows.classes[known], log_probabilities(predicted[:, known])
        weights, bias = fit_weights(logarithms, true, biased=not self.chooses)
        joined = np.full((len(rows), len(job.labels)), np.nan)
        joined[known] = softmax(np.tensordot(weights, logarithms, 1) + bias, axis=1)
        with atomic_path(job.folder / "out_of_fold.npy") as temporary:
            np.save(temporary, joined)
        for part in self._parts:
            part.fit(job, train.joined(validation) if self._refits(part, job) else train, validation)
        by_name = dict(zip((part.name for part in self._parts), weights.tolist(), strict=True))
        write_json(job.folder / "join.json", {"weights": by_name, "bias": bias.tolist()})
        f1 = {
            f"f1_of_{part.name}": weighted_f1(true, each.argmax(axis=1), len(job.labels))
            for part, each in zip(self._parts, logarithms, strict=True)
        }
        named = {f"weight_of_{name}": weight for name, weight in by_name.items()}
        return Fitted(metrics={"rows": len(train), **named, **f1})

    def _held_out(self, job: Job, train: "Rows", validation: "Rows") -> "npt.NDArray[np.float64]":
        """Probabilities (members, rows, classes) of rows that the members did not learn from.

        They are out of fold; where a member chooses on validation rows, those of the validation rows, for a
        network for each fold would take too long. NaN where there are none of a row.
        """
        import numpy as np

        from jabert.methods._parts import out_of_fold
        from jabert.training.folds import assign_folds

        if not self.chooses:
            count = cast(StackSettings, job.settings.method).folds
            folds = assign_folds(train, count, job.settings.training.seed)
            return np.stack([out_of_fold(part, job, train, folds) for part in self._parts])
        predicted = []
        for part in self._parts:
            whole = replace(job, folder=job.folder / "before") if self._refits(part, job) else job
            part.fit(whole, train, validation)
            predicted.append(part.predict(whole, validation))
        return np.stack(predicted)

    def _refits(self, part: "Part", job: Job) -> bool:
        """Whether a member learns from the validation rows too, once these have weighed it."""
        return self.refits and job.refit and not part.method.chooses

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        from jabert.methods._parts import predict_parts

        weights, bias = _read_join(job)
        return predict_parts(self._with_weight(weights), job, rows, weights, bias)

    def out_of_fold(self, job: Job) -> "npt.NDArray[np.float64]":
        """See `Method.out_of_fold`."""
        import numpy as np

        found: npt.NDArray[np.float64] = np.load(job.folder / "out_of_fold.npy", allow_pickle=False)
        return found

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        from jabert.methods._parts import export_parts

        weights, bias = _read_join(job)
        return export_parts(self._with_weight(weights), job, weights, bias, target)

    def _with_weight(self, weights: dict[str, float]) -> "list[Part]":
        return [part for part in self._parts if weights[part.name]]

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        weights, own = _read_join(job)[0], cast(StackSettings, job.settings.method)
        used = self._with_weight(weights)
        described = {part.name: part.method.describe(part.job(job), part.fitted(job)) for part in used}
        classes, idle = len(job.labels), [part.name for part in self._parts if not weights[part.name]]
        weighed = "The validation rows" if self.chooses else f"{own.folds} folds, groups kept together,"
        return Description(
            summary=f"A stack of {' and '.join(part.name for part in used)}",
            layers=[
                Layer("text", "read by each member", "(characters)", 0),
                *(part.layer(job) for part in used),
                Layer("softmax", "weights of the members", f"({classes})", len(used) + classes),
            ],
            protocol=[
                f"{weighed} decided the weights: "
                f"{', '.join(f'{name} {weight:.2f}' for name, weight in weights.items())}.",
                *([f"Without a weight, and not part of the model: {', '.join(idle)}."] if idle else []),
                *(f"{name}: {sentence}" for name, of in described.items() for sentence in of.protocol),
            ],
            limits=[f"{name}: {sentence}" for name, of in described.items() for sentence in of.limits],
            environment={key: value for of in described.values() for key, value in of.environment.items()},
        )


def _read_join(job: Job) -> "tuple[dict[str, float], list[float]]":
    """Weights of the members by name, and bias (classes,)."""
    join = json.loads((job.folder / "join.json").read_text(encoding="utf-8"))
    return join["weights"], join["bias"]


METHOD = Stack()
