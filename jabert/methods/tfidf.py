"""A linear model on weighted n-grams of characters: seconds to fit, no encoder, and hard to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from jabert.config import Count, MethodSettings, Positive
from jabert.errors import JabertError
from jabert.methods import Description, Epoch, Export, Fitted, Job, Layer, Member, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jabert.training.rows import Rows

_PACKAGES = ("sudachipy", "sudachidict-core")  # for words
_CALIBRATED = "Probabilities: a softmax of its scores, whose sharpness was chosen on rows held out."


class TfidfSettings(MethodSettings):
    """The n-grams and the linear model."""

    kind: str = "tfidf"
    longest: Count = Field(3, json_schema_extra={"neutral": 4})
    """characters of the longest n-gram"""
    ngrams: Count = 500_000
    """that are kept at most, the most frequent ones; bounds memory"""
    words: bool = False
    """content words in their dictionary form, beside the n-grams; needs `pip install 'jabert[words]'`"""
    classifier: Literal["svm", "logistic"] = Field("svm", json_schema_extra={"neutral": "logistic"})
    """linear support vector machine with calibrated probabilities, or logistic regression"""
    c: Positive = Field(1.0, json_schema_extra={"neutral": 30.0})
    """inverse strength of the regularization; 30 suits logistic regression"""


class Tfidf(Method):
    """Counts are sublinear and weighted by inverse document frequency; a softmax layer follows."""

    settings_type = TfidfSettings
    summary = "a linear model on TF-IDF of characters (and words), without an encoder"
    cost = "seconds to fit and a fraction of a millisecond a text to serve, on any CPU"
    needs = ("texts",)
    revision = 3

    def fit(self, job: Job, train: "Rows", validation: "Rows", on_epoch: Callable[[Epoch], None]) -> Fitted:
        """See `Method.fit`.

        Raises:
            JabertError: words are wanted, and the packages for them are not installed.
        """
        import numpy as np

        from jabert.files import atomic_path, write_json
        from jabert.methods._linear import fit_softmax, fit_svm
        from jabert.runtime.text_classifier import side_by_side

        own = cast(TfidfSettings, job.settings.method)
        blocks = [_ngrams(train.texts, own), *([_words(train.texts, own)] if own.words else [])]
        features = side_by_side([block.features for block in blocks])
        if own.classifier == "svm":
            layer = fit_svm(features, train, own.c)
        else:
            layer = fit_softmax(features, train.classes, own.c)
        columns = {block.name: block.columns for block in blocks}
        write_json(job.folder / "ngrams.json", {"longest": own.longest, **columns})
        idf = np.concatenate([block.idf for block in blocks])
        with atomic_path(job.folder / "ngrams.npz") as temporary:
            np.savez(temporary, idf=idf, kernel=layer.kernel, bias=layer.bias)
        sizes = {name: len(found) for name, found in columns.items()}
        return Fitted(metrics={"rows": len(train), **sizes, "iterations": layer.iterations})

    def predict(self, job: Job, rows: "Rows") -> "npt.NDArray[np.float64]":
        """See `Method.predict`."""
        from jabert.runtime.text_classifier import Ngrams

        return Ngrams(job.folder, len(job.labels)).classify(list(rows.texts))

    def export(self, job: Job, target: Path) -> Export:
        """See `Method.export`."""
        for name in ("ngrams.json", "ngrams.npz"):
            copyfile(job.folder / name, target / name)
        words = cast(TfidfSettings, job.settings.method).words
        requires = ("scikit-learn", *(("scipy", *_PACKAGES) if words else ()))
        return Export((Member("ngrams", requires),))

    def describe(self, job: Job, fitted: Fitted) -> Description:
        """See `Method.describe`."""
        own, classes = cast(TfidfSettings, job.settings.method), len(job.labels)
        ngrams, words = (int(fitted.metrics.get(name, 0)) for name in ("ngrams", "words"))
        model = "support vector machine" if own.classifier == "svm" else "logistic regression"
        beside = [Layer("words", "dictionary forms, TF-IDF", f"({words:,})", words)] if own.words else []
        return Description(
            summary=f"A linear {model} on TF-IDF of characters" + " and words" * own.words,
            layers=[
                Layer("text", "NFKC, lower case", "(characters)", 0),
                Layer("n-grams", f"1 to {own.longest} characters, TF-IDF", f"({ngrams:,})", ngrams),
                *beside,
                Layer("softmax", model, f"({classes})", (ngrams + words + 1) * classes),
            ],
            protocol=[
                f"Linear {model} (scikit-learn, C {own.c}) on {ngrams:,} n-grams of 1 to {own.longest} "
                "characters" + f" and {words:,} words" * own.words + ".",
            ]
            + [_CALIBRATED] * (own.classifier == "svm"),
            limits=["It knows no word that the training rows lack, and no order beyond a few characters."],
        )


@dataclass(frozen=True)
class _Block:
    """Weighted columns of one sort.

    Attributes:
        name: `ngrams` or `words`.
        columns: the n-grams or words.
        idf: float64 (columns,).
        features: sparse float64 (texts, columns), each text of length 1.
    """

    name: str
    columns: list[str]
    idf: "npt.NDArray[np.float64]"
    features: Any


def _ngrams(texts: Sequence[str], own: TfidfSettings) -> _Block:
    """What `ngram_vectorizer` of the runtime makes of the texts, but counted with less time and memory."""
    from sklearn.feature_extraction.text import TfidfTransformer

    from jabert.methods._ngrams import count_ngrams
    from jabert.runtime.text_classifier import in_one_form

    counts, ngrams = count_ngrams([in_one_form(text) for text in texts], own.longest, own.ngrams)
    weigher = TfidfTransformer(sublinear_tf=True).fit(counts)
    return _Block("ngrams", ngrams, weigher.idf_, weigher.transform(counts, copy=False))


def _words(texts: Sequence[str], own: TfidfSettings) -> _Block:
    from jabert.runtime.text_classifier import word_vectorizer

    if not all(find_spec(name.replace("-", "_")) for name in _PACKAGES):
        raise JabertError("method.words needs SudachiPy and its dictionary: pip install 'jabert[words]'")
    vectorizer = word_vectorizer(max_features=own.ngrams)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError as error:  # an empty vocabulary
        raise JabertError(
            "method.words: no text that is learned from holds a content word; leave it out"
        ) from error
    return _Block("words", vectorizer.get_feature_names_out().tolist(), vectorizer.idf_, features)


METHOD = Tfidf()
