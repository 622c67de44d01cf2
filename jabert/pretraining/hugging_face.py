"""Import of an encoder from a Hugging Face folder into the published form of Google's BERT.

What other architectures have besides BERT's is made BERT's: rows of the table of pieces are put in the order
of the SentencePiece model (fairseq has other ids), positions that stand for padding are left out, and a
second segment is added where there is one. So nothing that reads an encoder folder knows of them.
"""

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from jabert.config import EncoderSettings
from jabert.encoder import Tokenizer, open_folder
from jabert.encoder.case import case_of
from jabert.encoder.folder import CONFIG, ONNX, WORDS, BertConfig, config_of, parsed
from jabert.encoder.inspection import check_weights
from jabert.encoder.pieces import SentencePiece, wordpiece
from jabert.errors import JabertError, reason_of, refusing
from jabert.files import on_disk, write_json, write_text
from jabert.pretraining.export import check_out, write_encoder

_CONFIG = "config.json"
_TABLE = "bert/embeddings/word_embeddings"
_POSITIONS = "bert/embeddings/position_embeddings"
_SEGMENTS = "bert/embeddings/token_type_embeddings"
_ROBERTA = ("camembert", "roberta", "xlm-roberta")  # whose positions begin behind that of padding
_ARCHITECTURES = ("bert", "distilbert", *_ROBERTA)
_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")  # its first token ids; SentencePiece begins with <unk> <s> </s>
_ACTIVATIONS = {  # names of transformers and of encoder folders
    "gelu": "gelu_erf",
    "gelu_fast": "gelu",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "linear": "linear",
    "relu": "relu",
    "tanh": "tanh",
}
_DISTILBERT_SIZES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
_DISTILBERT = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_IN_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.*)")
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*(\S+)")
_Array = npt.NDArray[Any]
_Write = Callable[[Path, Path, Mapping[str, Any], str], Path]  # folder, tokenizer, encoder.toml, card


@dataclass(frozen=True)
class _Source:
    """A Hugging Face folder.

    Attributes:
        path: the folder.
        config: content of `config.json`.
        tokenizer: content of `tokenizer_config.json`, empty without it.
    """

    path: Path
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> "_Source":
        if not path.is_dir():
            remedy = "unpack it" if path.is_file() else "give the local folder of a model; none is downloaded"
            raise JabertError(f"{path} is not a folder; {remedy}")
        if not (path / _CONFIG).is_file():
            is_ours = list(path.glob("*.index")) or (path / "bert_config.json").exists()
            kind = "it is an encoder folder: `jabert encoder inspect` checks it" if is_ours else "give one"
            raise JabertError(f"{path} has no {_CONFIG}, so it is not a Hugging Face folder; {kind}")
        found = cls(path, *(_object(path / name) for name in (_CONFIG, "tokenizer_config.json")))
        if found.kind not in _ARCHITECTURES and found.onnx is None:
            known = "BERT, RoBERTa, XLM-R, CamemBERT and DistilBERT, and others in ONNX (onnx/model.onnx)"
            raise JabertError(f"{path / _CONFIG}: model_type is {found.kind!r}; jabert imports {known}")
        return found

    @property
    def kind(self) -> str:
        return str(self.config.get("model_type"))

    @property
    def onnx(self) -> Path | None:
        """The model in ONNX, as Optimum exports it; None without."""
        places = (self.path / name for name in (ONNX, "model.onnx", "onnx/model.onnx"))
        return next((path for path in places if path.is_file()), None)

    @property
    def tokenizer_class(self) -> str:
        return str(self.tokenizer.get("tokenizer_class")).removesuffix("Fast")

    def token(self, name: str, default: str) -> str:
        """A special token, e.g. `cls_token`."""
        of_map = _object(self.path / "special_tokens_map.json")
        found = self.tokenizer.get(name) or of_map.get(name) or default
        return str(found["content"] if isinstance(found, dict) else found)

    def added(self) -> dict[str, int]:
        """Token ids of the tokens beside the vocabulary."""
        added = {str(name): int(number) for name, number in _object(self.path / "added_tokens.json").items()}
        decoded = self.tokenizer.get("added_tokens_decoder") or {}
        return added | {token["content"]: int(number) for number, token in decoded.items()}


@dataclass(frozen=True)
class _Imported:
    """A tokenizer for an encoder folder.

    Attributes:
        write: puts its file in a folder and returns it.
        ids: token ids of pieces, as the model has them.
        order: rows of the model's table of pieces in the order of the new token ids; the others follow.
        settings: for `encoder.toml`.
        special: the tokens around a text.
    """

    write: Callable[[Path], Path]
    ids: Mapping[str, int]
    order: Sequence[int] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    special: tuple[str, str] = ("[CLS]", "[SEP]")


def import_encoder(
    source: str | Path, out: Path, *, prefix: str | None = None, first_position: int | None = None
) -> tuple[Path, list[str]]:
    """Write a Hugging Face folder of BERT, RoBERTa, XLM-R or DistilBERT, or in ONNX, as an encoder folder.

    Weights are read from safetensors, or by PyTorch, which must be installed, without unpickling code.
    Vectors equal those of transformers to 1e-4.

    Args:
        source: the folder.
        out: the folder to write; must not exist, or be empty.
        prefix: stands before every text, e.g. "query: "; None: what the folder says of its default.
        first_position: of a text in the table of positions; None: what the architecture says.

    Returns:
        `out`, and remarks.

    Raises:
        JabertError: the folder is not of such a model, or lacks a file; or `out` is there already, or cannot
            be written. Then nothing is written.
    """
    check_out(out, "the folder")
    if out.resolve() == Path.cwd():
        raise JabertError(f"{out} is the current folder, which can't be replaced; give another")
    found = _Source.open(Path(source))
    try:
        tokenizer = _tokenizer(found)
        prefix, remarks = _prefix(found, prefix)
        if found.kind in _ARCHITECTURES:
            order, write = _checkpoint(found, tokenizer, first_position)
        else:
            order, write = _onnx(found, tokenizer)
        settings = {**tokenizer.settings, **_frame(found, tokenizer, order), **_origin(found)}
    except (AttributeError, LookupError, TypeError, ValueError, OSError, RecursionError) as error:
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise JabertError(f"{source}: its files are not as transformers writes them ({reason})") from error
    settings |= {"prefix": prefix} if prefix else {}
    card = f"# {settings['origin']}\n\nWritten by `jabert encoder import`.\n"
    draft = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    try:
        with on_disk(out):
            (draft / "tokenizer").mkdir(parents=True)
            file = tokenizer.write(draft / "tokenizer")
        made = write(draft / "made", file, settings, card)
        opened = open_folder(made)
        check_weights(opened)
        Tokenizer(opened, EncoderSettings())
        with on_disk(out):
            made.replace(out)  # which may be an empty folder
    except JabertError as error:
        raise JabertError(str(error).replace(str(draft / "made"), str(out))) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out, remarks


def _checkpoint(
    source: _Source, tokenizer: _Imported, first_position: int | None
) -> tuple[npt.NDArray[np.int64], _Write]:
    """The order of the rows of the table of pieces, and what writes the folder with a checkpoint."""
    config, first = _config(source, first_position)
    with _weights(source) as read:
        weights = {name: _weight(source, read, name) for name in config.variables() if name != _SEGMENTS}
        segments = _maybe(source, read, _SEGMENTS)
    weights[_POSITIONS] = weights[_POSITIONS][first:]
    weights[_SEGMENTS] = np.zeros((2, config.hidden_size), np.float32)
    if segments is not None:
        weights[_SEGMENTS][: len(segments)] = segments[:2]
    order = _order(source, tokenizer, len(weights[_TABLE]))
    weights[_TABLE] = weights[_TABLE][order]
    config = replace(config, vocab_size=len(order), max_position_embeddings=len(weights[_POSITIONS]))
    dropout = float(source.config.get("hidden_dropout_prob", source.config.get("dropout", 0.1)))

    def write(target: Path, file: Path, settings: Mapping[str, Any], card: str) -> Path:
        return write_encoder(
            target, weights, config, file, step=1, dropout=dropout, settings=settings, card=card
        )

    return order, write


def _onnx(source: _Source, tokenizer: _Imported) -> tuple[npt.NDArray[np.int64], _Write]:
    """The same of a folder with the model in ONNX, whose rows stay as they are."""
    order = _order(source, tokenizer, int(source.config["vocab_size"]))
    model = source.onnx
    if model is None or (order != np.arange(len(order))).any():
        raise JabertError(
            f"{source.path}: the tokenizer has other ids than the model; give tokenizer.json alone"
        )

    def write(target: Path, file: Path, settings: Mapping[str, Any], card: str) -> Path:
        with on_disk(target):
            target.mkdir()
            shutil.copyfile(model, target / ONNX)
            for beside in (*model.parent.glob("*.onnx_data"), *model.parent.glob("*.onnx.data")):
                shutil.copyfile(beside, target / beside.name)
            shutil.copyfile(file, target / file.name)
        write_json(target / CONFIG, dict(source.config))
        write_text(target / "encoder.toml", tomli_w.dumps(dict(settings)))
        write_text(target / "README.md", card)
        return target

    return order, write


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty without the file."""
    values = parsed(path, json.loads, "JSON") if path.is_file() else {}
    if not isinstance(values, dict):
        raise JabertError(f"{path} is not a JSON object")
    return values


def _config(source: _Source, first_position: int | None) -> tuple[BertConfig, int]:
    """The sizes, and the first position of a text."""
    values, path = dict(source.config), source.path / _CONFIG
    if source.kind == "distilbert":
        values |= {name: values[other] for name, other in _DISTILBERT_SIZES.items() if other in values}
        values["layer_norm_eps"] = 1e-12
    activation = values.get("hidden_act", "gelu")
    if activation not in _ACTIVATIONS:
        raise JabertError(f"{path}: hidden_act {activation!r} is none of {', '.join(_ACTIVATIONS)}")
    if values.get("is_decoder"):
        raise JabertError(f"{path}: is_decoder is true, and jabert imports encoders; give one")
    values |= {"hidden_act": _ACTIVATIONS[activation], "type_vocab_size": 2}
    first = values.get("pad_token_id", 1) + 1 if source.kind in _ROBERTA else 0
    first = first if first_position is None else first_position
    config = config_of(values, path)
    if not 0 <= first < config.max_position_embeddings:
        raise JabertError(
            f"{path}: the first position, {first}, is not below {config.max_position_embeddings}; "
            "--first-position can give it"
        )
    return config, first


@contextmanager
def _weights(source: _Source) -> Iterator[Mapping[str, Callable[[], _Array]]]:
    """What reads each of the weights, by its name without that of the architecture."""
    files = _files(source)
    with ExitStack() as stack:
        found: dict[str, Callable[[], _Array]] = {}
        for file in files:
            found |= _of_torch(file) if file.suffix == ".bin" else _of_safetensors(file, stack)
        table = next((name for name in found if name.endswith("embeddings.word_embeddings.weight")), None)
        if table is None:
            raise JabertError(
                f"{files[0]} has no embeddings.word_embeddings.weight: it is no BERT's; give one"
            )
        start = table.removesuffix("embeddings.word_embeddings.weight")
        yield {name.removeprefix(start): read for name, read in found.items() if name.startswith(start)}


def _files(source: _Source) -> list[Path]:
    """The files of the weights: safetensors, else PyTorch's."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = source.path / f"{name}.index.json"
        if index.is_file():
            shards = sorted(
                {source.path / Path(str(file)).name for file in _object(index)["weight_map"].values()}
            )
            for shard in shards:
                if not shard.is_file():
                    raise JabertError(f"{shard} is missing, which {index.name} names; fetch it, too")
            return shards
        if (source.path / name).is_file():
            return [source.path / name]
    others = [name for name in ("tf_model.h5", "flax_model.msgpack") if (source.path / name).is_file()]
    there_is = f", but {others[0]}: save it with transformers' save_pretrained" if others else ""
    raise JabertError(f"{source.path} has no model.safetensors{there_is or '; fetch it, too'}")


def _of_safetensors(file: Path, stack: ExitStack) -> dict[str, Callable[[], _Array]]:
    from safetensors import safe_open

    damaged = f"{file} cannot be read"
    with refusing(damaged):
        opened = stack.enter_context(safe_open(file, "np"))
        names = list(opened.keys())

    def read(name: str) -> _Array:
        with refusing(damaged):
            return np.asarray(opened.get_tensor(name))

    return {name: partial(read, name) for name in names}


def _of_torch(file: Path) -> dict[str, Callable[[], _Array]]:
    """Weights in PyTorch's own format, which is read without running what is in it."""
    if find_spec("torch") is None:
        raise JabertError(
            f"{file} is PyTorch's own format, and PyTorch is not installed: pip install torch, or save the "
            "model as model.safetensors, as transformers' save_pretrained does"
        )
    torch: Any = import_module("torch")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of pickle, zipfile or torch; whatever a file that is no model does
        raise JabertError(
            f"{file} has other things than weights, or is damaged ({type(error).__name__}); save it with "
            "transformers' save_pretrained"
        ) from error

    def reader(tensor: Any) -> Callable[[], _Array]:
        return lambda: np.asarray(tensor.float().numpy())

    return {name: reader(tensor) for name, tensor in state.items()}


def _maybe(source: _Source, read: Mapping[str, Callable[[], _Array]], name: str) -> _Array | None:
    """A variable by Google's name, float32; None if it is not there."""
    theirs, last = name.removeprefix("bert/").replace("/layer_", "/layer/").replace("/", "."), ""
    if name.endswith(("/kernel", "/bias", "/gamma", "/beta")):
        theirs, _, last = theirs.rpartition(".")
    found = _IN_LAYER.fullmatch(theirs)
    if found and source.kind == "distilbert":
        theirs = f"transformer.layer.{found[1]}.{_DISTILBERT[found[2]]}"
    kept = "bias" if last in ("beta", "bias") else "weight"
    reader = read.get(f"{theirs}.{kept}") or read.get(f"{theirs}.{last}")  # of old models: gamma and beta
    if reader is None:
        return None
    array = reader().astype(np.float32)
    return np.ascontiguousarray(array.T) if last == "kernel" else array


def _weight(source: _Source, read: Mapping[str, Callable[[], _Array]], name: str) -> _Array:
    found = _maybe(source, read, name)
    if found is None:
        raise JabertError(
            f"{source.path}: the weights have nothing for {name}; the model is not a whole encoder"
        )
    return found


def _order(source: _Source, tokenizer: _Imported, rows: int) -> npt.NDArray[np.int64]:
    """Rows of the model's table of pieces, (rows,), in the order of the new token ids."""
    beyond = [number for number in (*tokenizer.order, *tokenizer.ids.values()) if number >= rows]
    if beyond:
        raise JabertError(
            f"{source.path}: the tokenizer has the token id {max(beyond)}, but the model only {rows:,} rows "
            "of pieces; they are not of one model"
        )
    rest = np.setdiff1d(np.arange(rows), tokenizer.order)
    return np.concatenate([np.array(tokenizer.order, dtype=np.int64), rest])


def _frame(source: _Source, tokenizer: _Imported, order: npt.NDArray[np.int64]) -> dict[str, int]:
    """New token ids of the tokens around a text, for `encoder.toml`."""
    found = {}
    for name, token in zip(("cls_id", "sep_id"), tokenizer.special, strict=True):
        if token not in tokenizer.ids:
            raise JabertError(f"{source.path}: the tokenizer has no {token}, which stands around a text")
        found[name] = int(np.flatnonzero(order == tokenizer.ids[token])[0])
    return found


def _tokenizer(source: _Source) -> _Imported:
    """The tokenizer of the folder, whichever kind it is."""
    words, settings = _words(source), dict[str, Any]()
    if words:
        settings["words"] = words
    if isinstance(lower := source.tokenizer.get("do_lower_case"), bool):
        settings["lower_case"] = lower
    models = sorted(source.path.glob("*.model"))
    if len(models) == 1:
        return _sentencepiece(source, models[0], settings)
    if len(models) > 1:
        raise JabertError(
            f"{source.path} has {len(models)} SentencePiece models, {', '.join(p.name for p in models)}: "
            "leave the one that is meant"
        )
    if (source.path / "tokenizer.json").is_file() and not words:
        return _json(source, settings)
    if (source.path / "vocab.txt").is_file():
        return _wordpiece(source, settings, words)
    raise JabertError(
        f"{source.path} has no tokenizer that jabert reads: a SentencePiece model, tokenizer.json or "
        "vocab.txt; transformers' save_pretrained writes tokenizer.json"
    )


def _words(source: _Source) -> str | None:
    """The dictionary with which MeCab cuts texts beforehand, None for none."""
    kind = source.tokenizer.get("word_tokenizer_type")
    if kind in (None, "basic"):
        return None
    said = source.tokenizer.get("mecab_kwargs") or {}
    dictionary = str(said.get("mecab_dic", "unidic_lite")).replace("_", "-")
    if (
        kind != "mecab"
        or dictionary not in WORDS
        or said.get("mecab_option")
        or not said.get("normalize_text", 1)
    ):
        how = f"{kind} ({', '.join(f'{name} = {value!r}' for name, value in said.items())})" if said else kind
        raise JabertError(
            f"{source.path}: words are cut by {how}; jabert cuts them by MeCab with {', '.join(WORDS)}"
        )
    return dictionary


def _sentencepiece(source: _Source, model: Path, settings: dict[str, Any]) -> _Imported:
    """A SentencePiece model, whose pieces may have other token ids in the model than in itself."""
    names = SentencePiece(model).names()
    beside = source.path / "tokenizer.json"
    is_fairseq = source.tokenizer_class == "XLMRobertaTokenizer"
    if beside.is_file():
        content = parsed(beside, json.loads, "JSON")
        ids = _ids_of(content)
        if any(name not in ids for name in names):
            return _json(source, settings)
    elif is_fairseq or (source.kind == "xlm-roberta" and "tokenizer_class" not in source.tokenizer):
        ids = {name: number + 1 for number, name in enumerate(names)}
        ids |= {name: number for number, name in enumerate(_FAIRSEQ)}
    elif source.kind == "camembert":
        raise JabertError(f"{source.path} has no tokenizer.json; transformers' save_pretrained writes it")
    else:
        ids = {name: number for number, name in enumerate(names)}
    ids = {**source.added(), **ids}
    special = ("<s>", "</s>") if "[CLS]" not in ids else ("[CLS]", "[SEP]")
    special = (source.token("cls_token", special[0]), source.token("sep_token", special[1]))

    def write(folder: Path) -> Path:
        return Path(shutil.copyfile(model, folder / "sentencepiece.model"))

    return _Imported(write, ids, [ids[name] for name in names], settings, special)


def _ids_of(content: Any) -> dict[str, int]:
    """Token ids by piece in the content of a `tokenizer.json`."""
    try:
        vocabulary = content["model"]["vocab"]
        pieces = enumerate(piece for piece, _ in vocabulary) if isinstance(vocabulary, list) else ()
        found = (
            dict(vocabulary) if isinstance(vocabulary, dict) else {piece: number for number, piece in pieces}
        )
        return found | {added["content"]: added["id"] for added in content.get("added_tokens") or []}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise JabertError(
            "tokenizer.json has no vocabulary as the library tokenizers writes it; fetch or save it anew"
        ) from None


def _json(source: _Source, settings: dict[str, Any]) -> _Imported:
    """A `tokenizer.json`, whose pieces keep their token ids."""
    path = source.path / "tokenizer.json"
    ids = _ids_of(parsed(path, json.loads, "JSON"))
    special = ("[CLS]", "[SEP]") if "[CLS]" in ids else ("<s>", "</s>")
    special = (source.token("cls_token", special[0]), source.token("sep_token", special[1]))
    own = {name: value for name, value in settings.items() if name != "lower_case"}  # which it does itself

    def write(folder: Path) -> Path:
        return Path(shutil.copyfile(path, folder / path.name))

    return _Imported(write, ids, (), own, special)


def _wordpiece(source: _Source, settings: dict[str, Any], words: str | None) -> _Imported:
    """A `vocab.txt`, with the rules that its tokenizer has."""
    path, said = source.path / "vocab.txt", source.tokenizer
    vocabulary = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    strip = said.get("strip_accents", settings.get("lower_case"))
    strip = settings.get("lower_case") if strip is None else bool(strip)
    if words:
        settings.setdefault("lower_case", False)
    is_basic = "BertJapanese" in source.tokenizer_class
    content = wordpiece(
        vocabulary,
        words=words,
        path=path,
        strip=strip,
        han_apart=bool(said.get("tokenize_chinese_chars", not is_basic)),
        characters=said.get("subword_tokenizer_type") == "character",
    )
    special = (source.token("cls_token", "[CLS]"), source.token("sep_token", "[SEP]"))
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    settings.setdefault("lower_case", case_of(vocabulary).lower)

    def write(folder: Path) -> Path:
        return write_json(folder / "tokenizer.json", content)

    return _Imported(write, ids, (), settings, special)


def _prefix(source: _Source, prefix: str | None) -> tuple[str, list[str]]:
    """What stands before every text, and a remark if it is not known."""
    said = _object(source.path / "config_sentence_transformers.json")
    prompts, default = said.get("prompts") or {}, said.get("default_prompt_name")
    if prefix is not None:
        return prefix, []
    if default in prompts:
        return str(prompts[default]), [f"{prompts[default]!r} stands before every text, the model's default"]
    if prompts.get("query"):
        return "", [
            f"the model knows prefixes of texts; --prefix {prompts['query']!r} puts one before every text"
        ]
    name = f"{source.config.get('_name_or_path', '')} {source.path.name}"
    if re.search(r"(?<![a-z0-9])e5(?![a-z0-9])", name.lower()):
        family = "models of the E5 family were trained with prefixes"
        return "", [f"{family}: --prefix 'query: ' puts one before every text"]
    return "", []


def _origin(source: _Source) -> dict[str, str]:
    """Where the model comes from, and its licence, as far as its card says."""
    card = source.path / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = _LICENCE.match(text)
    origin = {"origin": str(source.config.get("_name_or_path") or source.path.resolve().name)}
    return origin | ({"licence": found[1]} if found else {})
