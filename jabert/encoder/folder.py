"""An encoder folder: SentencePiece model, BERT checkpoint, `bert_config.json`, `encoder.toml`."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jabert.config import bundled
from jabert.errors import JabertError
from jabert.files import digest_of_file, digest_of_json
from jabert.legacy_keras import import_tensorflow

CONFIG = "bert_config.json"
_INDEX = ".index"
_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")
_ACTIVATIONS = ("gelu", "linear", "relu", "tanh")  # those of google-research/bert, modeling.py


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


@dataclass(frozen=True)
class EncoderFolder:
    """The files of an encoder; the checkpoint itself is not loaded.

    Attributes:
        path: the folder.
        sentencepiece: the SentencePiece model.
        checkpoint: prefix of the checkpoint's files.
        config: sizes, from `bert_config.json`.
        settings: content of `encoder.toml` (`lower_case`, `licence`, `origin`), empty without that file.
    """

    path: Path
    sentencepiece: Path
    checkpoint: Path
    config: BertConfig
    settings: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all contents that a vector depends on; paths, times and the licence are left out."""
        index = self.checkpoint.with_name(self.checkpoint.name + _INDEX)
        shards = sorted(self.path.glob(f"{self.checkpoint.name}.data-*"))
        states = [(path, path.stat()) for path in (self.sentencepiece, index, *shards)]
        digests = [_digest(path, at.st_ino, at.st_size, at.st_mtime_ns) for path, at in states]
        return digest_of_json([digests, vars(self.config), self.settings.get("lower_case")])

    def check_variables(self, optional: Mapping[str, tuple[int, ...]] | None = None) -> list[str]:
        """Compare names and shapes in the checkpoint with `bert_config.json`.

        Args:
            optional: shapes of further variables by name, which may be missing.

        Returns:
            Names of the encoder's variables and of the optional ones that are there.

        Raises:
            JabertError: names the first variable that is missing or has another shape.
        """
        found = variable_shapes(self.checkpoint)
        layers = count_layers(found)
        if layers != self.config.num_hidden_layers:
            raise JabertError(
                f"checkpoint {self.checkpoint} has {layers} layers, "
                f"but {CONFIG} says num_hidden_layers = {self.config.num_hidden_layers}"
            )
        present = {name: shape for name, shape in (optional or {}).items() if name in found}
        wanted = self.config.variables() | present
        for name, shape in wanted.items():
            if name not in found:
                raise JabertError(f"checkpoint {self.checkpoint} has no variable {name}")
            if found[name] != shape:
                raise JabertError(
                    f"checkpoint {self.checkpoint}: variable {name} has shape {found[name]}, "
                    f"but {CONFIG} makes it {shape}"
                )
        return list(wanted)


def open_folder(path: str | Path | None, named: str = "encoder.path") -> EncoderFolder:
    """Find the files of an encoder folder by their suffixes.

    Args:
        path: the folder. The string `jabert-mini` means the encoder that comes with jabert; `./jabert-mini`
            and a `Path` mean a folder of that name.
        named: the setting that the path comes from, for error messages.

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
        raise JabertError(f"{named} {folder} is not a folder")
    sentencepiece = _only(folder, "*.model", "SentencePiece model")
    checkpoint = checkpoint_in(folder)
    if not list(folder.glob(f"{checkpoint.name}.data-*")):
        raise JabertError(f"checkpoint {checkpoint} has an index but no file {checkpoint.name}.data-…")
    about = folder / CONFIG
    if not about.is_file():
        raise JabertError(f"{about} is missing; `jabert encoder init {folder}` writes it")
    config = config_of(_parsed(about, json.loads, "JSON"), about)
    return EncoderFolder(folder, sentencepiece, checkpoint, config, _read_settings(folder))


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
        return {name: np.asarray(reader.get_tensor(name), dtype=np.float32) for name in names}


@contextmanager
def reading(checkpoint: Path) -> Iterator[None]:
    """Turn TensorFlow's error about a damaged checkpoint into a `JabertError` that names the checkpoint."""
    tf = import_tensorflow()
    try:
        yield
    except (tf.errors.OpError, ValueError, IndexError) as error:  # IndexError: a shard is too short
        reason = str(error).splitlines()[0]
        raise JabertError(f"checkpoint {checkpoint} cannot be read: {reason}") from None


def checkpoint_in(folder: Path) -> Path:
    """The prefix of the checkpoint's files."""
    index = _only(folder, f"*.ckpt-*{_INDEX}", "checkpoint index")
    return index.with_name(index.name.removesuffix(_INDEX))


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
    for name, value in vars(config).items():
        if name != "hidden_act" and (type(value) is not int or value < 1):
            raise JabertError(f"{path}: {name} must be a positive whole number, not {value!r}")
    if config.hidden_act not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise JabertError(f"{path}: hidden_act must be one of {known}, not {config.hidden_act!r}")
    if config.hidden_size % config.num_attention_heads:
        raise JabertError(
            f"{path}: {config.num_attention_heads} attention heads do not divide "
            f"hidden_size {config.hidden_size}"
        )
    if config.type_vocab_size != 2:
        raise JabertError(f"{path}: type_vocab_size is {config.type_vocab_size}; keras-bert knows only 2")
    return config


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "encoder.toml"
    if not path.is_file():
        return {}
    settings: dict[str, Any] = _parsed(path, tomllib.loads, "TOML")
    if not isinstance(settings.get("lower_case", False), bool):
        raise JabertError(f"{path}: lower_case must be true or false, not {settings['lower_case']!r}")
    for name in ("licence", "origin"):
        if not isinstance(settings.get(name, ""), str):
            raise JabertError(f"{path}: {name} must be a string, not {settings[name]!r}")
    return settings


def _parsed(path: Path, parse: Callable[[str], Any], form: str) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise JabertError(f"{path} is not {form}: {error}") from None


def variable_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each variable of a checkpoint by its name."""
    with reading(checkpoint):
        found = import_tensorflow().train.list_variables(str(checkpoint))
        return {name: tuple(shape) for name, shape in found}


def count_layers(variables: Iterable[str]) -> int:
    """Number of transformer layers that have variables among these names."""
    return len({found[1] for name in variables if (found := _LAYER.match(name))})
