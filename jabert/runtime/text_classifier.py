"""The registered model: Japanese texts in, label, score and class probabilities out.

MLflow stores this file with the model and runs it where the model is loaded ("models from code"), so it
stands alone: it imports nothing else of jabert, and reads only the folder `classifier` logged beside it:

    SHA256SUMS    digests of the other files, as `sha256sum` writes them
    package.json  labels, limits, and the members: for each its folder and the class here that reads it;
                  perhaps the temperature of the probabilities, the weights of a text's neighbours, and the
                  threshold of an answer
    config.toml   the settings that the model was made with; for people, not read here
    <member>/     the files of one classifier

A network may have several heads on one encoder. Where there are several members or heads, their probabilities
are joined by a softmax layer on their logarithms, whose weights stand in `package.json`. Libraries that only
one kind of member needs are imported by that kind, so a model wants no packages but those of its members.
"""

import difflib
import hashlib
import json
import re
import reprlib
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from itertools import accumulate, chain, pairwise
from operator import methodcaller
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_SUMS = "SHA256SUMS"
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # control, format (zero-width …) and white space
_INVISIBLE_RANGES = (  # characters that have no glyph, as in jabert/texts.py
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065),
    (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x16FE4, 0x16FE4), (0x1D159, 0x1D159), (0xE0000, 0xE0FFF),
)  # fmt: skip
_INVISIBLE = frozenset(chr(code) for first, last in _INVISIBLE_RANGES for code in range(first, last + 1))
_OF_LONG_TEXTS = {"long_texts": "head", "windows": 1, "overlap": 0}  # where network.json does not say
_FEW = 8  # texts; measured on 2 cores
_AT_ONCE = 1000  # texts whose n-grams are in memory together
_SPACES = re.compile(r"\s\s+")
_CONTENT = frozenset({"名詞", "動詞", "形容詞", "形状詞", "副詞", "接頭辞", "接尾辞"})
_MOST_PIECES = 4  # of a character, where pieces are bytes; one more is set before a text
_SUDACHI_MOST = 10_000  # characters; Sudachi takes 49,149 bytes
_PARAMS = ("top_k", "threshold", "output")
_SMALLEST = 1e-7  # probability whose logarithm is taken
_Ints = npt.NDArray[np.int32]
_Numbers = npt.NDArray[Any]
_Probabilities = npt.NDArray[np.float64]
_Encode = Callable[[str], list[int]]
_Begins = Callable[[str], list[tuple[int, bool]]]
_Run = Callable[[_Numbers, _Ints], npt.NDArray[np.float32]]


class BadInput(MlflowException):
    """Texts or parameters that the model does not take; an HTTP client gets status 400 and the sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, INVALID_PARAMETER_VALUE)

    def serialize_as_json(self) -> str:
        """The answer to an HTTP client."""
        self.message = str(self)  # MLflow's server has put the whole input before it
        answer: str = super().serialize_as_json()  # type: ignore[no-untyped-call]
        return answer


class _Model:
    """A model's folder in a pickle; what comes out of the pickle is the model, as MLflow loads it from there.

    The name of this module is made up by MLflow when a model is loaded, so no other process knows it: a
    pickle must name nothing of it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(mlflow.pyfunc.load_model, suppress_warnings=True), (str(self._folder),)


class TextClassifier(PythonModel):
    """A classifier of texts behind MLflow's pyfunc interface.

    A copy (`copy.deepcopy`, `pickle`) of one that MLflow has loaded opens the files of the model again.

    Attributes, once it is loaded:
        about: what `package.json` says.
        digest: SHA-256 of `SHA256SUMS`, in hexadecimal, which stands for all files of the package.
        members: the classifiers in the package, each a `Network` or an `Ngrams`.
    """

    about: dict[str, Any]
    digest: str
    members: "list[Network | Ngrams]"
    _package: Path | None = None

    def load_context(self, context: PythonModelContext) -> None:
        """Read the package among the artifacts; see `load`."""
        self._package = Path(context.artifacts["classifier"])
        self.load(self._package)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """What a copy is made of: the folder that MLflow has loaded the model from.

        Raises:
            MlflowException: the folder is gone, as one that was downloaded for the loading alone.
        """
        if self._package is None:
            return super().__reduce__()
        folder = next((above for above in self._package.parents if (above / "MLmodel").is_file()), None)
        if folder is None:
            raise MlflowException(
                f"the model cannot be copied, because its files are gone from {self._package}; load it with "
                "mlflow.pyfunc.load_model from a folder that stays"
            )
        return methodcaller("unwrap_python_model"), (_Model(folder),)

    def load(self, folder: Path) -> "TextClassifier":
        """Check the files of a package, then read its members.

        Raises:
            MlflowException: a file is missing, has changed, or is not part of the model.
        """
        _check_files(folder)
        self.members = []
        self.about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        self.digest = hashlib.sha256((folder / _SUMS).read_bytes()).hexdigest()
        classes = len(self.about["labels"])
        runtimes: dict[str, type[Network | Ngrams]] = {"network": Network, "ngrams": Ngrams}
        for member in self.about["members"]:
            heads = {"heads": [folder / head for head in member["heads"]]} if "heads" in member else {}
            self.members.append(runtimes[member["runtime"]](folder / member["folder"], classes, **heads))
        return self

    def predict(
        self,
        context: PythonModelContext | None,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame | pd.Series:
        """Classify texts.

        Args:
            context: its `model_config` may hold `output`, for callers of MLflow that pass no parameters.
            model_input: one row a text, in the string column `text`. A model with context takes two more, if
                they are there: `before` and `after`, lists of the texts before and after it in the same
                article, talk or other group, the nearest last and first. A single row with a list of texts
                stands for as many rows: MLflow makes it of `{"text": ["…", "…"]}`.
            params: `top_k`, how many labels `probabilities` holds, the most probable first (without it
                all, in the order of training); `threshold`, the probability below which a text gets no label
                (without it that of the package, if it has one; 0: every text gets one); `output`, `label` for
                the labels alone, as a column, which tools that evaluate classifiers want.

        Returns:
            `label` (str, or None below the threshold), `score` (float, the highest probability) and
            `probabilities` (a dict, label to float), in the order and with the index of the input.

        Raises:
            BadInput: a text is null, not a string, not Unicode or blank; `before` or `after` is no list of
                texts; there are too many texts; there is no such parameter, or it has no such value. Rows
                are named by the index of the input.
        """
        configured = (context.model_config if context else None) or {}
        top_k, threshold, output = _checked(params or {}, configured)
        model_input = _by_row(model_input)
        if threshold is None:
            threshold = self.about.get("threshold", 0.0)
        self._check_texts(model_input["text"])
        probabilities = self.answer(model_input["text"].tolist(), self.neighbours_of(model_input))
        best, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
        labels = self.about["labels"]
        named = [labels[i] if score >= threshold else None for i, score in zip(best, scores, strict=True)]
        column = pd.Series(
            named, index=model_input.index, dtype=object, name="label"
        )  # else None becomes NaN
        if output == "label":
            return column
        return pd.DataFrame(
            {
                "label": column,
                "score": scores,
                "probabilities": [self._by_label(row, top_k) for row in probabilities],
            },
            index=model_input.index,
        )

    def neighbours_of(self, model_input: pd.DataFrame) -> list[list[str]] | None:
        """The texts beside each text, the nearest as many as the model looks at; None if there are none.

        Args:
            model_input: perhaps with the columns `before` and `after`, as for `predict`.

        Raises:
            BadInput: a cell is no list of texts.
        """
        most = self.about.get("context", {}).get("texts", 0)
        given = [name for name in ("before", "after") if name in model_input]
        if not most or not given:
            return None
        found: list[list[str]] = [[] for _ in range(len(model_input))]
        for name in given:
            for row, (label, cell) in enumerate(model_input[name].items()):
                texts = _texts_of(cell)
                if texts is None:
                    raise BadInput(f"row {label}: {name} is {reprlib.repr(cell)}, not a list of texts")
                nearest = texts[-most:] if name == "before" else texts[:most]
                found[row] += [text for text in nearest if self.fault_of(text) is None]
        return found

    def _check_texts(self, texts: "pd.Series[Any]") -> None:
        limit = self.about["max_texts"]
        for number, (row, text) in enumerate(texts.items()):
            if number == limit:
                raise BadInput(f"row {row}: there are {len(texts):,} texts, but {limit:,} at most at a time")
            if fault := self.fault_of(text):
                raise BadInput(f"row {row}: text is {fault}")

    @staticmethod
    def fault_of(text: Any) -> str | None:
        """What is wrong with a text, None if nothing is: it is null, no string, blank or not Unicode."""
        if not isinstance(text, str):
            is_null = pd.api.types.is_scalar(text) and pd.isna(text)
            return "null" if is_null else f"{reprlib.repr(text)}, not a string"
        if not any(map(_is_visible, text)):
            return "blank"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "not Unicode: it holds half of a surrogate pair"
        return None

    def classify(self, texts: list[str]) -> _Probabilities:
        """Probabilities float64 (texts, classes) of texts that are known to be good, not yet calibrated."""
        return self.join([member.classify(texts) for member in self.members])

    def cut(self, texts: list[str]) -> list[bool]:
        """Whether a member sees only some of each text, because it is longer than its encoder takes."""
        return [any(member.cuts(text) for member in self.members) for text in texts]

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """The pieces of a text as the first encoder's tokenizer cuts it, each with whether it is known.

        Together they are the text, or the form of it that MeCab has cut. Without an encoder: its characters.
        """
        networks = [member for member in self.members if isinstance(member, Network)]
        return networks[0].parts(text) if networks else [(character, True) for character in text]

    def join(self, parts: list[_Probabilities]) -> _Probabilities:
        """The probabilities of the package from those of its members, each (texts, heads * classes)."""
        weights = self.about.get("join")
        if weights is None:
            return parts[0]
        logarithms = log_probabilities(np.concatenate(parts, axis=1))
        return _softmax(logarithms @ np.array(weights["kernel"]) + np.array(weights["bias"]))

    def answer(self, texts: list[str], neighbours: list[list[str]] | None = None) -> _Probabilities:
        """Probabilities float64 (texts, classes), calibrated, in the light of each text's neighbours.

        Each different text is classified once, wherever it stands.
        """
        if neighbours is None:
            return self.calibrate(self.classify(texts))
        numbers = {text: i for i, text in enumerate(dict.fromkeys(chain(texts, *neighbours)))}
        known = self.calibrate(self.classify(list(numbers)))
        evidence = known ** self.about.get("context", {}).get("power", 1)
        sums = [evidence[[numbers[text] for text in each]].sum(axis=0) for each in neighbours]
        return self.in_context(known[[numbers[text] for text in texts]], np.array(sums))

    def in_context(self, probabilities: _Probabilities, sums: _Probabilities) -> _Probabilities:
        """Probabilities (texts, classes) in the light of their neighbours, if the package says how.

        `sums` (texts, classes) are those of the power of the neighbours' probabilities that it names.
        A text without neighbours keeps its own.
        """
        weights = self.about.get("context")
        if not weights or not len(sums):
            return probabilities
        scores = weights["own"] * log_probabilities(probabilities) + weights["neighbours"] * sums
        joined = _softmax(scores + np.array(weights["bias"]))
        found: _Probabilities = np.where(sums.any(axis=1, keepdims=True), joined, probabilities)
        return found

    def calibrate(self, probabilities: _Probabilities) -> _Probabilities:
        """Make probabilities (texts, classes) as sure as they are right, if the package has a temperature.

        They become the softmax of their logarithms divided by the temperature.
        """
        temperature = self.about.get("temperature", 1.0)
        if temperature == 1:  # to the last bit
            return probabilities
        powers = probabilities ** (1 / temperature)
        shares: _Probabilities = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def _by_label(self, probabilities: _Probabilities, top_k: int | None) -> dict[str, float]:
        order = range(len(probabilities)) if top_k is None else np.argsort(-probabilities, kind="stable")
        return {self.about["labels"][i]: float(probabilities[i]) for i in order[:top_k]}


@dataclass(frozen=True)
class Vectors:
    """The token vectors that a network takes, and where stored ones come from.

    Attributes:
        hidden_size: columns.
        dtype: float16 or float32.
        precision: in which they are computed on this machine, `float32` or `bfloat16`.
        encoder: fingerprint of the encoder.
        pad_to: length to which texts are padded with token id 0, None without padding.
        longest: tokens of the longest row of the encoder. A text with more is several rows, its windows, one
            behind the other; all but the last are so long.
        layers: of the encoder, the last ones, whose vectors stand side by side.
    """

    hidden_size: int
    dtype: np.dtype[Any]
    precision: str
    encoder: str
    pad_to: int | None
    longest: int
    layers: int


def _openvino() -> Any:
    """OpenVINO, once for the process and never let go.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and unmaps it in whichever
    thread lets go of the plugin last. If that is another one, the next signal to the first is a segmentation
    fault (2026.4).
    """
    # With it, importing openvino tells its maker so, over the network and in a process of its own.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # Kept by the library's module: this one goes with its model, and another comes with the next.
    return vars(openvino).setdefault("kept_for_good", openvino.Core())


class Network:
    """A tokenizer, an encoder and heads, whatever their layers: token ids and lengths to probabilities.

    The folder holds `network.json` (the habits of tokenizer and encoder), `sentencepiece.model` or the
    `tokenizer.json` of the library tokenizers, and OpenVINO graphs: `layout` (ids and lengths of an unpadded
    batch to the indices of its tokens), `encoder` (that to token vectors) and `head` (token vectors and
    lengths to class probabilities). Several heads take the same vectors, and their probabilities stand side
    by side.

    The encoder computes in the precision in which the head's vectors were made, where the CPU has it; the
    head in float32: OpenVINO's LSTM in bfloat16 is many times slower and up to 0.05 of probability off.

    Args:
        folder: of the member.
        classes: number of labels.
        heads: files of the heads' graphs; without them the one in the folder.
    """

    def __init__(self, folder: Path, classes: int, heads: Sequence[Path] = ()) -> None:
        self._habits = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        self._encode = tokenizer_of(folder, self._habits)
        core = _openvino()
        fast = self._habits["precision"] == "bfloat16" and "BF16" in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        )

        def compiled(path: Path, precision: str) -> Any:
            # LATENCY: all cores on one batch.
            hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            return core.compile_model(path, "CPU", hints)

        compiled_heads = [compiled(head, "f32") for head in heads or [folder / "head.xml"]]
        taken = compiled_heads[0].input("vectors")
        self.vectors = Vectors(
            hidden_size=taken.get_partial_shape()[1].get_length(),
            dtype=taken.element_type.to_dtype(),
            precision="bfloat16" if fast else "float32",
            encoder=self._habits["encoder_fingerprint"],
            pad_to=self._habits["pad_to"],
            longest=self._habits["pad_to"] or self._habits["max_tokens"],
            layers=self._habits.get("layers", 1),
        )
        self._heads = [head.create_infer_request() for head in compiled_heads]
        self._columns = classes * len(self._heads)
        self._layout = compiled(folder / "layout.xml", "f32").create_infer_request()
        self._encoder = compiled(folder / "encoder.xml", "bf16" if fast else "f32").create_infer_request()
        self._lock = threading.Lock()  # a request computes one batch at a time

    @cached_property
    def _room(self) -> int:
        """Pieces of a window."""
        return int(self._habits["max_tokens"]) - len(self._habits.get("prefix_ids", ())) - 2

    @property
    def _kept(self) -> list[Any]:
        """What is kept of a long text, the most windows, and the overlap of two."""
        return [self._habits.get(name, default) for name, default in _OF_LONG_TEXTS.items()]

    def token_ids(self, text: str) -> _Ints:
        """As in training: cut, framed by `[CLS]`, perhaps a prefix, and `[SEP]`; int32.

        The windows of a long text stand one behind the other, each in a frame of its own.
        """
        habits = self._habits
        text = text[: habits["max_characters"]]  # far more than there are tokens, and quickly divided
        before = [habits["cls_id"], *habits.get("prefix_ids", ())]
        ids: list[int] = []
        for window in windows_of(self._encode(text), self._room, *self._kept):
            framed = [*before, *window, habits["sep_id"]]
            ids += framed + [0] * ((habits["pad_to"] or 0) - len(framed))
        return np.array(ids, dtype=np.int32)

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """The pieces of a text, cut or not, each with whether it is in the vocabulary."""
        return self._encode.parts(text)

    def cuts(self, text: str) -> bool:
        """Whether pieces of a text are in none of its token ids."""
        most = self._habits["max_characters"]
        if most is not None and len(text) > most:
            return True
        if _MOST_PIECES * len(unicodedata.normalize("NFKC", text)) < self._room:  # most texts are short
            return False
        pieces = self._encode(text)
        windows = windows_of(pieces, self._room, *self._kept)
        repeated = (len(windows) - 1) * self._kept[-1]
        return bool(sum(map(len, windows)) - repeated < len(pieces))

    def classify(self, texts: list[str]) -> _Probabilities:
        """Probabilities float64 (texts, heads * classes)."""
        return self.classify_ids([self.token_ids(text) for text in texts])

    def classify_ids(self, texts: list[_Ints]) -> _Probabilities:
        """The same from the token ids of each text, int32 (tokens,)."""
        return self._in_batches(texts, self._run)

    def classify_vectors(self, texts: list[_Numbers]) -> _Probabilities:
        """The same from token vectors that were computed before, (tokens, hidden) as `vectors` says."""
        return self._in_batches(texts, self._run_head)

    def _in_batches(self, texts: list[_Numbers], run: _Run) -> _Probabilities:
        probabilities = np.empty((len(texts), self._columns))
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        for batch in _batches(lengths, self._habits["token_budget"]):
            probabilities[batch] = run(np.concatenate([texts[row] for row in batch]), lengths[batch])
        return probabilities

    def _run(self, ids: _Ints, lengths: _Ints) -> npt.NDArray[np.float32]:
        """Ids int32 (tokens,) of texts one behind the other to probabilities (texts, heads * classes)."""
        with self._lock:
            rows = {"ids": ids, "lengths": _windows(lengths, self.vectors.longest)}
            layout = self._layout.infer(rows, share_inputs=True).to_dict()
            inputs = {output.any_name: values for output, values in layout.items()}
            vectors = self._encoder.infer(inputs, share_inputs=True)["vectors"][: len(ids)]
        return self._run_head(vectors.astype(self.vectors.dtype), lengths)

    def _run_head(self, vectors: _Numbers, lengths: _Ints) -> npt.NDArray[np.float32]:
        with self._lock:
            inputs = {"vectors": vectors, "lengths": lengths}
            found = [head.infer(inputs, share_inputs=True)["probabilities"] for head in self._heads]
        return np.concatenate(found, axis=1)


class Ngrams:
    """A linear model on weighted n-grams of characters, and perhaps words; no network.

    The folder holds `ngrams.json` (`longest`, and the lists `ngrams` and, where words are counted, `words`)
    and `ngrams.npz` (`idf` (columns,), `kernel` (columns, classes) and `bias` (classes,) of the softmax
    layer). Columns are the n-grams, then the words.

    Args:
        folder: of the member.
        classes: number of labels.
    """

    vectors = None

    def __init__(self, folder: Path, classes: int) -> None:
        counted = json.loads((folder / "ngrams.json").read_text(encoding="utf-8"))
        ngrams, words = counted["ngrams"], counted.get("words", [])
        with np.load(folder / "ngrams.npz", allow_pickle=False) as arrays:
            idf, self._kernel, self._bias = (arrays[name] for name in ("idf", "kernel", "bias"))
        if self._bias.shape != (classes,):
            raise MlflowException(f"{folder.name} has weights for {len(self._bias)} classes, not {classes}")
        self._vectorizers = [ngram_vectorizer(counted["longest"], vocabulary=ngrams)]
        if words:
            self._vectorizers.append(word_vectorizer(vocabulary=words))
        for vectorizer, own in zip(self._vectorizers, np.split(idf, [len(ngrams)]), strict=False):
            vectorizer.idf_ = own

    def cuts(self, text: str) -> bool:  # noqa: ARG002
        """Whether something of a text is not seen: never."""
        return False

    def classify(self, texts: list[str]) -> _Probabilities:
        """Probabilities float64 (texts, classes)."""
        parts = [np.empty((0, len(self._bias)))]
        for start in range(0, len(texts), _AT_ONCE):
            chosen = texts[start : start + _AT_ONCE]
            features = side_by_side([vectorizer.transform(chosen) for vectorizer in self._vectorizers])
            parts.append(_softmax(features @ self._kernel + self._bias))
        return np.concatenate(parts)


def ngram_vectorizer(longest: int, **more: Any) -> Any:
    """scikit-learn's TF-IDF of the n-grams of 1 to `longest` characters, with sublinear counts.

    Texts that differ only in the width or case of letters have the same n-grams.

    Args:
        longest: characters of the longest n-gram.
        more: further arguments of `TfidfVectorizer`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char", ngram_range=(1, longest), sublinear_tf=True, preprocessor=in_one_form, **more
    )


def word_vectorizer(**more: Any) -> Any:
    """The same of content words, in the normalized form of Sudachi's core dictionary.

    Args:
        more: further arguments of `TfidfVectorizer`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sudachipy import Dictionary

    tokenizer, lock = Dictionary().tokenizer(), threading.Lock()  # it takes one text at a time

    def words(text: str) -> list[str]:
        text = in_one_form(text)
        parts = [text[start : start + _SUDACHI_MOST] for start in range(0, len(text), _SUDACHI_MOST)]
        with lock:
            return [
                word.normalized_form()
                for part in parts
                for word in tokenizer.tokenize(part)
                if word.part_of_speech()[0] in _CONTENT
            ]

    return TfidfVectorizer(analyzer=words, sublinear_tf=True, **more)


def side_by_side(blocks: list[Any]) -> Any:
    """Sparse blocks of columns, each (texts, columns) with rows of length 1, as one such block."""
    from scipy import sparse
    from sklearn.preprocessing import normalize

    return blocks[0] if len(blocks) == 1 else normalize(sparse.hstack(blocks, format="csr"))


def in_one_form(text: str) -> str:
    """NFKC, lower case, and one space for white space in a row: texts that are then equal are equal here."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).lower())


@dataclass(frozen=True)
class Tokenizer:
    """What turns a text into token ids, without those around it.

    Attributes:
        encode: a prepared text to token ids.
        begins: a prepared text to where each piece begins, in characters, and whether it is known.
        prepare: what is done with a text beforehand.
    """

    encode: _Encode
    begins: _Begins
    prepare: Callable[[str], str]

    def __call__(self, text: str) -> list[int]:
        """Token ids of a text."""
        return self.encode(self.prepare(text))

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """The pieces of a text, spaces with the one before, and whether each is known.

        They are cut from the text itself, unless its preparation has changed its length.
        """
        prepared, known = self.prepare(text), {0: True}
        for begin, is_known in self.begins(prepared):  # several pieces of one character begin with it
            known[begin] = known.get(begin, True) and is_known
        shown = text if len(prepared) == len(text) else prepared
        spans = pairwise([*sorted(known), len(shown)])
        return [(shown[begin:end], known[begin]) for begin, end in spans if shown[begin:end]]


def tokenizer_of(folder: Path, habits: dict[str, Any]) -> Tokenizer:
    """The tokenizer of an encoder.

    Args:
        folder: with `sentencepiece.model` or `tokenizer.json`.
        habits: `lower_case`, and perhaps `words`, the dictionary with which MeCab cuts a text beforehand.
    """
    encode, begins = json_tokenizer(folder) or sentencepiece_model(folder)
    part = mecab(habits["words"]) if habits.get("words") else str
    return Tokenizer(encode, begins, lambda text: part(text).lower() if habits["lower_case"] else part(text))


def sentencepiece_model(folder: Path) -> tuple[_Encode, _Begins]:
    """The SentencePiece model in a folder: token ids, and where pieces begin."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    unknown = processor.unk_id()

    def begins(text: str) -> list[tuple[int, bool]]:
        sizes = accumulate((len(character.encode()) for character in text), initial=0)
        characters = {begin: number for number, begin in enumerate(sizes)}  # by their first byte
        found = processor.encode(text, return_type="proto").pieces
        return [(characters[piece.begin], piece.id != unknown) for piece in found if piece.surface]

    return processor.encode, begins


def json_tokenizer(folder: Path) -> tuple[_Encode, _Begins] | None:
    """The same of the tokenizer of the library tokenizers in a folder, None if there is none."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    unknown = getattr(tokenizer.model, "unk_token", None)

    def encoded(text: str) -> Any:
        return tokenizer.encode(text, add_special_tokens=False)

    def begins(text: str) -> list[tuple[int, bool]]:
        found = encoded(text)
        return [(span[0], name != unknown) for span, name in zip(found.offsets, found.tokens, strict=True)]

    return lambda text: list(encoded(text).ids), begins


def mecab(dictionary: str) -> Callable[[str], str]:
    """What cuts a text into words by MeCab, after NFKC, and puts spaces between them.

    Args:
        dictionary: the package that brings it: `ipadic`, `unidic` or `unidic-lite`.
    """
    import fugashi

    folder = import_module(dictionary.replace("-", "_")).DICDIR
    tagger, lock = fugashi.GenericTagger(f'-d "{folder}" -r "{Path(folder, "mecabrc")}"'), threading.Lock()

    def words(text: str) -> str:
        with lock:  # its words stand in memory that the next text overwrites
            return " ".join(word.surface for word in tagger(unicodedata.normalize("NFKC", text)))

    return words


def windows_of(pieces: list[int], room: int, keep: str, most: int, overlap: int) -> list[list[int]]:
    """What an encoder is given of a text: all of it, or what is kept of one that is too long.

    Args:
        pieces: token ids of the text without special ones.
        room: pieces that the encoder takes at a time.
        keep: of a text with more pieces: `head`, the first of them; `tail`, the last; `head-tail`, as many of
            both; `windows`, all, in several parts.
        most: parts; what lies beyond is cut.
        overlap: pieces that a part repeats of the one before it; fewer than `room`.

    Returns:
        The parts in order, each but the last of `room` pieces if there are several.
    """
    if len(pieces) <= room:
        return [pieces]
    if keep == "windows":
        starts = range(0, len(pieces) - overlap, room - overlap)
        return [pieces[start : start + room] for start in starts[:most]]
    last = {"head": 0, "tail": room, "head-tail": room // 2}[keep]
    return [pieces[: room - last] + pieces[len(pieces) - last :]]


def _windows(lengths: _Ints, longest: int) -> _Ints:
    """Tokens of each window of texts with so many tokens, (windows,)."""
    counts = -(-lengths // longest)
    windows = np.full(counts.sum(), longest, dtype=np.int32)
    windows[np.cumsum(counts) - 1] = lengths - (counts - 1) * longest
    return windows


def _texts_of(cell: Any) -> list[str] | None:
    """A cell of texts as a list, empty where it is null; None if it is something else."""
    if isinstance(cell, (list, tuple, np.ndarray)):
        texts = list(cell)
        return texts if all(isinstance(text, str) for text in texts) else None
    return [] if pd.isna(cell) else None


def log_probabilities(probabilities: _Probabilities) -> _Probabilities:
    """Logarithms that are joined: what is all but impossible for one member is not so for all."""
    logarithms: _Probabilities = np.log(np.maximum(probabilities, _SMALLEST))
    return logarithms


def _softmax(scores: _Numbers) -> _Probabilities:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: _Probabilities = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _batches(lengths: _Ints, budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers in batches, longest texts first, at most `budget` tokens each.

    The shortest text of a batch has at least half as many tokens as the longest, or the LSTM would run on
    over its padding; only few texts are not worth a batch of their own.
    """
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order]
    ends = np.cumsum(falling)
    start = 0
    while start < len(order):
        similar = int(np.searchsorted(-falling, -falling[start] / 2, side="right"))
        fitting = int(np.searchsorted(ends, ends[start] - falling[start] + budget, side="right"))
        end = len(order) if len(order) - similar < _FEW else max(similar, start + _FEW)
        end = max(start + 1, min(end, fitting))
        yield order[start:end]
        start = end


def _is_visible(character: str) -> bool:
    return character not in _INVISIBLE and unicodedata.category(character) not in _INVISIBLE_CATEGORIES


def _check_files(folder: Path) -> None:
    listed = folder / _SUMS
    text = listed.read_text(encoding="utf-8", errors="replace") if listed.is_file() else ""
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted({_SUMS, *expected, *found}):
        if name not in found:
            raise MlflowException(f"the file {name} of the model package is missing")
        if name == _SUMS:
            continue
        if name not in expected:
            raise MlflowException(f"the file {name} is not part of the model package")
        with found[name].open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected[name]:
                raise MlflowException(f"the file {name} of the model package has changed since it was made")


def _by_row(model_input: pd.DataFrame) -> pd.DataFrame:
    """The input with a row for each text, also where all texts are in one row, as a list."""
    if len(model_input) != 1 or not isinstance(texts := model_input["text"].iloc[0], list | np.ndarray):
        return model_input
    return pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})


def _checked(
    params: dict[str, Any], otherwise: dict[str, Any]
) -> tuple[int | None, float | None, str | None]:
    """The parameters, each of them None where neither the caller nor the configuration gives it."""
    for name in params.keys() - set(_PARAMS):
        near = difflib.get_close_matches(name, _PARAMS, n=1)
        hint = f"the nearest is {near[0]}" if near else f"there are: {', '.join(_PARAMS)}"
        raise BadInput(f"there is no parameter {name}; {hint}")
    given = {name: value for name, value in params.items() if value is not None}  # MLflow adds None
    top_k, threshold, output = ({**otherwise, **given}.get(name) for name in _PARAMS)
    if top_k is not None and top_k < 1:
        raise BadInput(f"top_k is {top_k}, but at least one label is shown")
    if threshold is not None and not 0 <= threshold <= 1:
        raise BadInput(f"threshold is {threshold}, but a probability is between 0 and 1")
    if output not in (None, "label"):
        raise BadInput(f"output is {output!r}, but it can only be 'label'; without it there are all columns")
    return top_k, threshold, output


mlflow.models.set_model(TextClassifier())
