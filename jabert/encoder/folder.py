"""An encoder folder: tokenizer, BERT checkpoint, `bert_config.json`, `encoder.toml`."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import EncoderSettings, bundled
from jabert.errors import JabertError, refusing
from jabert.files import digest_of_file, digest_of_json
from jabert.legacy_keras import import_tensorflow

CONFIG = "bert_config.json"
ONNX = "encoder.onnx"
EPSILON = 1e-14  # of keras-bert's layer normalization: keras_layer_normalization squares its 1e-7
WORDS = ("ipadic", "unidic", "unidic-lite")  # dictionaries of MeCab, by the names of their packages
_INDEX = ".index"
_TABLE = "bert/embeddings/word_embeddings"
_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")
_NAMED = re.compile(r"""^\s*model_checkpoint_path:\s*["'](.*)["']""", re.MULTILINE)
# Those of google-research/bert, modeling.py, whose gelu is approximated by tanh; gelu_erf is the exact one.
_ACTIVATIONS = ("gelu", "gelu_erf", "linear", "relu", "tanh")
_OF_ONE_MODEL = "; take the two that were published together"
_SAME_EPSILON = 1e-11  # up to it float32 vectors are those of any other; Google's BERT has 1e-12
_TRAINING_KEYS = frozenset(
    ("attention_probs_dropout_prob", "hidden_dropout_prob", "initializer_range", "directionality")
)


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT encoder, by the names of Google BERT's `bert_config.json`."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = EPSILON

    def to_dict(self) -> dict[str, Any]:
        """The sizes by name; an epsilon only if it is another than keras-bert's."""
        # Left out, so that fingerprints and packages are those of versions that knew no other.
        return {name: value for name, value in vars(self).items() if (name, value) != _USUAL}

    def variables(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each variable of the encoder, by Google BERT's names."""
        hidden, wide = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "bert/embeddings/word_embeddings": (self.vocab_size, hidden),
            "bert/embeddings/position_embeddings": (self.max_position_embeddings, hidden),
            "bert/embeddings/token_type_embeddings": (self.type_vocab_size, hidden),
            "bert/embeddings/LayerNorm/beta": (hidden,),
            "bert/embeddings/LayerNorm/gamma": (hidden,),
        }
        attention = ("self/query", "self/key", "self/value", "output/dense")
        dense = {f"attention/{name}": (hidden, hidden) for name in attention}
        dense |= {"intermediate/dense": (hidden, wide), "output/dense": (wide, hidden)}
        for layer in range(self.num_hidden_layers):
            prefix = f"bert/encoder/layer_{layer}/"
            for name, shape in dense.items():
                shapes[f"{prefix}{name}/kernel"] = shape
                shapes[f"{prefix}{name}/bias"] = shape[1:]
            for norm in ("attention/output/LayerNorm", "output/LayerNorm"):
                shapes[f"{prefix}{norm}/beta"] = shapes[f"{prefix}{norm}/gamma"] = (hidden,)
        return shapes


_LARGEST = 2**31 - 1  # of any size in it
_USUAL = ("layer_norm_eps", EPSILON)


@dataclass(frozen=True)
class EncoderFolder:
    """The files of an encoder; the checkpoint itself is not loaded.

    Attributes:
        path: the folder.
        tokenizer: a SentencePiece model, a `tokenizer.json` of the library tokenizers, or the vocabulary of a
            WordPiece tokenizer, `vocab.txt`.
        checkpoint: prefix of the checkpoint's files, or `encoder.onnx`.
        config: sizes, from `bert_config.json`.
        settings: content of `encoder.toml`, empty without that file: `lower_case`, `licence`, `origin`;
            `prefix`, which stands before every text; `cls_id` and `sep_id`, where the tokens around a text
            are not `[CLS]` and `[SEP]`; `words`, the dictionary with which MeCab cuts a text beforehand.
        ignored: keys of `bert_config.json` that mean nothing to jabert.
        left_out: layers of the checkpoint above those of `config`.
    """

    path: Path
    tokenizer: Path
    checkpoint: Path
    config: BertConfig
    settings: Mapping[str, Any]
    ignored: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def is_onnx(self) -> bool:
        """Whether it is in ONNX, so that it is computed, but has no variables that could be trained."""
        return self.checkpoint.name == ONNX

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all contents that a vector depends on; paths, times and the licence are left out."""
        if self.is_onnx:
            weights = [self.checkpoint, *sorted(self.path.glob("*.onnx[._]data"))]
        else:
            index = self.checkpoint.with_name(self.checkpoint.name + _INDEX)
            weights = [index, *sorted(self.path.glob(f"{self.checkpoint.name}.data-*"))]
        with refusing(f"encoder folder {self.path} cannot be read"):
            states = [(path, path.stat()) for path in (self.tokenizer, *weights)]
            digests = [_digest(path, at.st_ino, at.st_size, at.st_mtime_ns) for path, at in states]
        names = ("prefix", "cls_id", "sep_id", "words")
        more = {name: self.settings[name] for name in names if name in self.settings}
        parts = [digests, self.config.to_dict(), self.settings.get("lower_case"), *([more] if more else [])]
        return digest_of_json(parts)

    def lowest(self, layers: int) -> "EncoderFolder":
        """The same encoder without the layers above the lowest ones, of which it has so many or more."""
        config = replace(self.config, num_hidden_layers=layers)
        return replace(self, config=config, left_out=self.config.num_hidden_layers - layers)

    def check_variables(self, optional: Mapping[str, tuple[int, ...]] | None = None) -> list[str]:
        """Compare names and shapes in the checkpoint with `bert_config.json`.

        The table of pieces may have more rows than there are pieces.

        Args:
            optional: shapes of further variables by name, which may be missing.

        Returns:
            Names of the encoder's variables and of the optional ones that are there.

        Raises:
            JabertError: names the first variable that is missing or has another shape.
        """
        if self.is_onnx:
            raise JabertError(
                f"{self.checkpoint}: an encoder in ONNX can't be trained; methods on its vectors, e.g. "
                "mean-pooling, use it"
            )
        found = variable_shapes(self.checkpoint)
        layers = count_layers(found)
        if layers != self.config.num_hidden_layers + self.left_out:
            raise JabertError(
                f"checkpoint {self.checkpoint} has {layers} layers, "
                f"but {CONFIG} says num_hidden_layers = {self.config.num_hidden_layers}"
                f"{_kind_of(found) or _OF_ONE_MODEL}"
            )
        present = {name: shape for name, shape in (optional or {}).items() if name in found}
        wanted = self.config.variables() | present
        for name, shape in wanted.items():
            if name not in found:
                raise JabertError(
                    f"checkpoint {self.checkpoint} has no variable {name}{_kind_of(found) or _OF_ONE_MODEL}"
                )
            larger = name == _TABLE and found[name][1:] == shape[1:] and found[name][0] > shape[0]
            if found[name] != shape and not larger:
                raise JabertError(
                    f"checkpoint {self.checkpoint}: variable {name} has shape {found[name]}, "
                    f"but {CONFIG} makes it {shape}{_OF_ONE_MODEL}"
                )
        return list(wanted)


def open_folder(
    path: str | Path | None, named: str = "encoder.path", checkpoint: str | None = None
) -> EncoderFolder:
    """Find the files of an encoder folder by their suffixes.

    Args:
        path: the folder. The string `jabert-mini` means the encoder that comes with jabert; `./jabert-mini`
            and a `Path` mean a folder of that name.
        named: the setting that the path comes from, for error messages.
        checkpoint: name of one of several checkpoints; without it that which the file `checkpoint` names.

    Raises:
        JabertError: a file is missing, there are several of a kind, or one cannot be read.

    Example:
        >>> jabert.open_encoder("jabert-mini").config.hidden_size
        96
    """
    if path is None:
        raise JabertError(f"{named} is not set: give the folder of a BERT checkpoint, --set {named}=…")
    folder = local_folder(path)
    if not folder.is_dir():
        raise JabertError(f"{named} {folder} is not a folder{_remedy_for(folder)}")
    prefix = checkpoint_in(folder, checkpoint)
    tokenizer = tokenizer_in(folder)
    if prefix.name != ONNX:
        parts = [path for path in folder.iterdir() if path.name.startswith(f"{prefix.name}.data-")]
        if not parts:
            raise JabertError(
                f"checkpoint {prefix} has an index but no file {prefix.name}.data-…; fetch it, too"
            )
        for part in (*parts, folder / f"{prefix.name}{_INDEX}"):
            if not part.is_file():
                raise JabertError(f"{part} is a folder, not a file of a checkpoint")
    about, settings = folder / CONFIG, _read_settings(folder)
    if prefix.name == ONNX and not about.is_file():
        about = folder / "config.json"
    if not about.is_file():
        raise JabertError(f"{about} is missing; `jabert encoder init {folder}` writes it")
    values = parsed(about, json.loads, "JSON")
    if prefix.name == ONNX and isinstance(values, dict):  # other architectures have other keys beside these
        sizes = BertConfig.__annotations__.keys() - {"type_vocab_size", "hidden_act", "layer_norm_eps"}
        values = {name: value for name, value in values.items() if name in sizes}
    config = config_of(values, about)
    ignored = sorted(values.keys() - BertConfig.__annotations__.keys() - _TRAINING_KEYS)
    return EncoderFolder(folder, tokenizer, prefix, config, settings, tuple(ignored))


def folder_of(settings: EncoderSettings) -> EncoderFolder:
    """The encoder folder that the settings name; as `open_folder`."""
    return open_folder(settings.path, checkpoint=settings.checkpoint)


def read_variables(
    folder: EncoderFolder, optional: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """The variables of the encoder, float32 arrays by Google BERT's names.

    Args:
        folder: the encoder folder.
        optional: shapes of further variables by name, e.g. of heads, that are read if they are there.

    Raises:
        JabertError: the checkpoint cannot be read, or a variable is missing or has another shape than
            `bert_config.json` makes it.
    """
    names = folder.check_variables(optional)
    with reading(folder.checkpoint):
        reader = import_tensorflow().train.load_checkpoint(str(folder.checkpoint))
        found = {name: np.asarray(reader.get_tensor(name), dtype=np.float32) for name in names}
        return found | {_TABLE: found[_TABLE][: folder.config.vocab_size]}


def reading(checkpoint: Path) -> AbstractContextManager[None]:
    """Turn TensorFlow's errors about a damaged checkpoint into a `JabertError` that names the checkpoint."""
    return refusing(f"checkpoint {checkpoint} cannot be read")


def checkpoint_in(folder: Path, chosen: str | None = None) -> Path:
    """The prefix of the checkpoint's files, whatever its name; `encoder.onnx` if that is there instead.

    Args:
        folder: the encoder folder.
        chosen: name of the checkpoint; None: that which the file `checkpoint` names, or the only one.

    Raises:
        JabertError: there is none, or there are several and none is chosen.
    """
    names = sorted(path.name.removesuffix(_INDEX) for path in folder.glob(f"*{_INDEX}"))
    if not names and (folder / ONNX).is_file():
        return folder / ONNX
    if not names:
        raise JabertError(_without_checkpoint(folder))
    if chosen is not None:
        name = chosen.removesuffix(_INDEX)
        if name not in names:
            raise JabertError(f"encoder.checkpoint {chosen} is not in {folder}, but: {', '.join(names)}")
        return folder / name
    usual = [name for name in names if ".ckpt-" in name]  # the only ones that earlier versions looked for
    for found in ([name for name in names if name == _named_in(folder)], names, usual):
        if len(found) == 1:
            return folder / found[0]
    raise JabertError(
        f"encoder folder {folder} has {len(names)} checkpoints, {', '.join(names)}: set encoder.checkpoint "
        "to one of them, or name it in a file `checkpoint`, as TensorFlow does"
    )


def tokenizer_in(folder: Path) -> Path:
    """The tokenizer's file: the only SentencePiece model, else `tokenizer.json`, else `vocab.txt`.

    Raises:
        JabertError: there is none of them, or several SentencePiece models.
    """
    for name in ("tokenizer.json", "vocab.txt"):
        if not list(folder.glob("*.model")) and (folder / name).is_file():
            return folder / name
    return _only(folder, "*.model", "SentencePiece model")


def _named_in(folder: Path) -> str:
    """The checkpoint that TensorFlow's file `checkpoint` names, often by a path of another machine."""
    path = folder / "checkpoint"
    with refusing(f"{path} cannot be read"):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = _NAMED.search(text)
    return re.split(r"[/\\]", found[1])[-1] if found else ""


def _without_checkpoint(folder: Path) -> str:
    """What a folder without a checkpoint is, and the remedy."""
    if (folder / "config.json").is_file():
        return (
            f"{folder}: this is a Hugging Face folder; `jabert encoder import {folder} OUT` makes an encoder "
            "folder of it"
        )
    start = f"encoder folder {folder} must hold a checkpoint (*{_INDEX} and *.data-…), and there is none"
    if list(folder.glob("*.onnx")):
        return f"{start}; an encoder in ONNX must be called {ONNX}"
    if (folder / "saved_model.pb").is_file():
        return f"{start}: a SavedModel is not read; take the checkpoint that it was made of"
    inner = sorted({path.parent for path in folder.glob(f"*/*{_INDEX}")})
    return f"{start}, but in {inner[0]}: give that folder" if inner else start


def _remedy_for(path: Path) -> str:
    if path.is_file():
        return ", but a file: unpack it if it is an archive, or give the folder that it is in"
    return "; an encoder is not downloaded: give the local folder that holds its files"


def _kind_of(variables: Mapping[str, Any]) -> str:
    """A remark on a checkpoint that is not in the form of google-research/bert."""
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in variables:
        return ": it is one of Keras; take the checkpoint in the form of google-research/bert"
    if not any(name.startswith("bert/") for name in variables):
        return ": it is not one of google-research/bert, whose variables are named bert/…"
    return ""


def local_folder(path: str | Path) -> Path:
    """The folder that `path` means; only a string can mean a bundled one, since a `Path` drops `./`."""
    return (bundled(path, "encoder.path") if isinstance(path, str) else None) or Path(path)


@lru_cache(maxsize=64)
def _digest(path: Path, *_state: int) -> str:
    """Digest of a file's contents, which are read once in a process unless the file changes."""
    return digest_of_file(path)


def _only(folder: Path, pattern: str, what: str) -> Path:
    found = sorted(path.name for path in folder.glob(pattern))
    if len(found) != 1:
        instead = f"not {len(found)}: {', '.join(found)}" if found else "and there is none"
        raise JabertError(f"encoder folder {folder} must hold one {what} ({pattern}), {instead}")
    if not (folder / found[0]).is_file():
        raise JabertError(f"{folder / found[0]} is a folder, not a {what}")
    return folder / found[0]


def config_of(values: Any, path: Path) -> BertConfig:
    """The sizes in the content of a `bert_config.json`.

    Args:
        values: the content.
        path: the file that it is from or is written to, for error messages.

    Raises:
        JabertError: the content is not an object, or a size is missing or not supported by keras-bert.
    """
    if not isinstance(values, dict):
        raise JabertError(f"{path} is not a JSON object")
    try:
        config = BertConfig(**{name: values[name] for name in BertConfig.__annotations__ if name in values})
    except TypeError as error:
        missing = str(error).partition("argument")[2].removeprefix("s").lstrip(": ")
        raise JabertError(f"{path} lacks {missing}") from None
    epsilon = config.layer_norm_eps
    if type(epsilon) not in (int, float) or not 0 <= epsilon < 1:
        raise JabertError(f"{path}: layer_norm_eps must be a number from 0 to 1, not {shown(epsilon)}")
    if epsilon <= _SAME_EPSILON:
        config = replace(config, layer_norm_eps=EPSILON)
    for name, value in vars(config).items():
        if name not in ("hidden_act", "layer_norm_eps"):
            _require_size(name, value, path)
    if config.hidden_act not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise JabertError(f"{path}: hidden_act must be one of {known}, not {shown(config.hidden_act)}")
    if config.hidden_size % config.num_attention_heads:
        raise JabertError(
            f"{path}: {config.num_attention_heads} attention heads do not divide "
            f"hidden_size {config.hidden_size}"
        )
    for name, only in (("embedding_size", config.hidden_size), ("position_embedding_type", "absolute")):
        if values.get(name, only) != only:
            raise JabertError(
                f"{path}: {name} is {shown(values[name])}; only BERT's own, {only!r}, is supported"
            )
    if config.type_vocab_size != 2:
        raise JabertError(f"{path}: type_vocab_size is {config.type_vocab_size}; keras-bert knows only 2")
    return config


def _require_size(name: str, value: Any, path: Path) -> None:
    if type(value) is not int or value < 1:
        raise JabertError(f"{path}: {name} must be a positive whole number, not {shown(value)}")
    if value > _LARGEST:
        raise JabertError(f"{path}: {name} must be {_LARGEST:,} at most, not {shown(value)}")


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "encoder.toml"
    if not path.is_file():
        return {}
    settings: dict[str, Any] = parsed(path, tomllib.loads, "TOML")
    if not isinstance(settings.get("lower_case", False), bool):
        raise JabertError(f"{path}: lower_case must be true or false, not {shown(settings['lower_case'])}")
    for name in ("licence", "origin", "prefix"):
        if not isinstance(settings.get(name, ""), str):
            raise JabertError(f"{path}: {name} must be a string, not {shown(settings[name])}")
    for name in ("cls_id", "sep_id"):
        if type(settings.get(name, 0)) is not int or settings.get(name, 0) < 0:
            raise JabertError(f"{path}: {name} must be a token id, not {shown(settings[name])}")
    if settings.get("words", WORDS[0]) not in WORDS:
        raise JabertError(f"{path}: words must be one of {', '.join(WORDS)}, not {shown(settings['words'])}")
    return settings


def parsed(path: Path, parse: Callable[[str], Any], form: str) -> Any:
    """The content of a text file.

    Raises:
        JabertError: it is not in the form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise JabertError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise JabertError(f"{path} is not {form}: {error}") from None
    with refusing(f"{path} is not {form}"):
        return parse(text)


def variable_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each variable of a checkpoint by its name."""
    with reading(checkpoint):
        found = import_tensorflow().train.list_variables(str(checkpoint))
        return {name: tuple(shape) for name, shape in found}


def count_layers(variables: Iterable[str]) -> int:
    """Number of transformer layers that have variables among these names."""
    return len({found[1] for name in variables if (found := _LAYER.match(name))})
