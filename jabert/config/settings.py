"""Every setting: its type, default and meaning."""

import functools
import pkgutil
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from jabert.config.locations import is_url
from jabert.config.urls import Location, Url
from jabert.files import digest_of_json


class Kind(StrEnum):
    """What a setting's text stands for, where it is not just a text."""

    LOCATION = "a path or URL"
    SUITE = "a name, or a path that ends in .json"
    STORE = "the URI of an MLflow store"


_LONGEST_NAME = 256  # characters, of a model or an experiment in MLflow's database

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
ClassWeights = Literal["none", "balanced"]


def _not_blank(name: str) -> str:
    if not name.strip():
        raise ValueError("it is blank")
    return name


def _of_a_model(name: str) -> str:
    # Of "models:/NAME/1" and "models:/NAME@champion"; filters quote it.
    if wrong := sorted(set(name) & set("/:@?#'")):
        raise ValueError(f"it holds {' '.join(wrong)}, which MLflow's URIs of models can't say")
    if name != name.strip() or name in (".", ".."):
        raise ValueError("it is '.' or '..', or has white space at an end, which MLflow's URIs can't say")
    return _of_mlflow(name)


def _of_mlflow(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"it is longer than {_LONGEST_NAME} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise ValueError("it holds a control character, or half of a surrogate pair")
    return name


def _lockable(location: str | None) -> str | None:
    if location and is_url(location) and not location.startswith("postgresql"):
        raise ValueError("it is neither a path nor the URL of a PostgreSQL database")
    return location


def _not_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold would leave nothing to learn from; it is 0, or 2 or more")
    return folds


def _codec(name: str) -> str:
    try:
        if name != "auto":
            "".encode(name)  # an encoding of text, not such as rot13
    except (LookupError, ValueError):
        raise ValueError("there is no such encoding of text; utf-8, cp932 and euc_jp are some") from None
    return name


def _header(value: Any) -> Any:
    found = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    if found != "auto" and not isinstance(found, bool):
        raise ValueError("it is neither auto, true nor false")
    return found


def _delimiter(name: str) -> str:
    if name == "auto":
        return name
    character = {"tab": "\t", "\\t": "\t"}.get(name, name)
    if len(character) != 1 or character in '"\r\n':
        raise ValueError("it is neither auto, nor tab, nor one character other than a quote")
    return character


def _floor(value: Any) -> Any:
    with suppress(TypeError, ValueError):
        if 0 <= float(value) < 1 and not isinstance(value, bool):
            return float(value)
    if value != "chance":
        raise ValueError("it is neither 'chance' nor a weighted F1 from 0 to below 1")
    return value


Name = Annotated[str, AfterValidator(_not_blank)]
Locations = Annotated[  # one may stand without brackets
    tuple[Location, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]

Paths = Location | tuple[Location, ...]
Header = Annotated[Literal["auto"] | bool, BeforeValidator(_header)]
Column = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
Encoding = Annotated[str, AfterValidator(_codec)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]


def _location(default: Any = None, kind: Kind = Kind.LOCATION) -> Any:
    """A field that holds a path, a URL or several: made absolute when the settings are loaded.

    A name in `BUNDLED` stays as it is and means what comes with jabert; `./name` is the path.
    """
    return Field(default, json_schema_extra={"kind": kind})


class _Group(BaseModel):
    """Settings; the text below a field is its description, which README shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class DataSettings(_Group):
    """Where the labelled texts come from and how they are divided."""

    path: Paths | None = _location()
    """file, folder, glob or URL of the labelled texts, or several, or `sample`, which comes with jabert"""
    format: Literal["auto", "table", "classes", "knbc", "seed"] = "auto"
    """a table, a folder of text files for each class, the KNB corpus, or the article's folders"""
    sha256: str | None = None
    """expected SHA-256 of the file, refused if it differs"""
    encoding: Encoding = "auto"
    """of files of text, e.g. `utf-8`, `cp932`, `euc_jp`, `utf-16`; auto: what their bytes say"""
    delimiter: Delimiter = "auto"
    """of the cells of a table of text, one character or `tab`; auto: that which makes all rows as wide"""
    quoting: Literal["auto", "rfc4180", "none"] = "auto"
    """rfc4180: a cell in quotes may hold anything, "" is one quote; none: quotes are part of the texts"""
    header: Header = "auto"
    """whether the first row names the columns; auto: yes, unless data.text_column is a number and that row is
    like the others"""
    skip: tuple[str, ...] = ("LICENSE*", "README*", "CHANGES*")
    """names of files in folders of classes that are no texts"""
    skip_lines: Annotated[int, Field(ge=0)] = 0
    """lines at the beginning of each file in folders of classes that are no text, such as URL and date"""
    text_column: Column = "text"
    """name of the column, or its number from 1"""
    label_column: Column = "label"
    normalize_labels: bool = False
    """labels that differ only in width, case or surrounding space are one"""
    group_column: Column | None = None
    """column of the group (article) of a text; without it `group` if there is one"""
    order_column: Column | None = None
    """column of the place of a text in its group, for data.context; without it the order of the file"""
    context: Annotated[int, Field(ge=0)] = 0
    """texts before, and as many after, in the same group that are looked at too, never their labels"""
    split_column: Column = "split"
    """column of the split, for data.split = 'given'; `dev`, `valid`, `val` and `eval` mean validation"""
    labels: tuple[str, ...] = ()
    """the labels allowed; without it those of the training rows"""
    split: Literal["auto", "given", "sentence", "group"] = "auto"
    """auto: given if the data says so, else group if there are groups"""
    test_share: Share = 0.1
    """expected share of test rows (or groups)"""
    test_rows: Count | None = None
    """exact number of test rows; unlike a share it may move rows when the data grows"""
    validation_share: Share = 0.1
    """expected share of the rows that are not test rows, as for test_share"""
    seed: int = Field(0, ge=0)
    """chooses among the possible splits"""
    split_version: int = Field(2, ge=1, le=2, json_schema_extra={"neutral": 1})
    """2: by class, and texts alike but for width, composition or invisible characters are one; 1: as in
    earlier versions, and where the champion learned under it"""
    strip_topic_tag: bool = True
    """KNBC: remove the tag that opens each article"""
    drop_duplicates: bool = True
    """keep one of each text, and none of a text that has two different labels"""
    long_texts: Literal["head", "tail", "head-tail", "windows"] = "windows"
    """what an encoder gets of a text that is longer than it takes: its beginning, its end, half of each, or
    all of it in overlapping windows, whose vectors stand one behind the other"""
    windows: Count = 8
    """of a text at most; what lies beyond is cut"""
    max_bytes: Count = 1_000_000_000
    """of data, unpacked, that `retrain`, `validate` and `featurize` hold; `score` holds a part at a time"""


LONG_TEXTS = ("data.long_texts", "data.windows")
"""Settings that decide the token ids of texts."""

CONTEXT = "data.context"
"""The setting that decides how classified texts are put together."""


class ValidationSettings(_Group):
    """Which expectations the data must meet: a name from `expectations/` or a JSON file."""

    suite: Location = _location("labelled_texts", Kind.SUITE)
    """checked on the split table of texts"""
    pieces_suite: Location = _location("pieces", Kind.SUITE)
    """checked after tokenization"""


class EncoderSettings(_Group):
    """The pretrained BERT and how it is run."""

    path: Location | None = _location()
    """folder of tokenizer, checkpoint and bert_config.json, local or among a run's artifacts (`runs:/…`), or
    `jabert-mini`, which comes with jabert"""
    checkpoint: str | None = None
    """one of several in the folder, e.g. model.ckpt-100; without it the one that the file checkpoint names"""
    max_tokens: Annotated[int, Field(ge=3)] | None = None
    """longest text, [CLS] and [SEP] included; without it what the encoder can take"""
    pad_to: Annotated[int, Field(ge=3)] | None = None
    """pad every text to this length and feed the padding to the classifier"""
    lower_case: bool | None = None
    """without it what encoder.toml or the vocabulary says"""
    engine: Literal["auto", "reference", "openvino", "tensorflow"] = "auto"
    """auto: tensorflow on a GPU, openvino on a CPU; reference: keras-bert itself"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of matrix products; auto: bfloat16 where the processor has instructions for it"""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    token_budget: Count | None = None
    """tokens of a batch, padding included; without it what suits engine and model"""
    cache_path: Location = _location(".jabert/engines")
    """folder of encoders converted for an engine"""


class FeaturesSettings(_Group):
    """The store of computed token vectors."""

    path: Location = _location(".jabert/features")
    """folder of the store"""
    dtype: Literal["float16", "float32"] = "float16"
    """of the stored vectors"""
    layers: Count = 1
    """of the encoder, the last ones, whose vectors stand side by side; the store grows with them"""
    max_bytes: Count = 100_000_000_000
    """of vectors that one run may add to the store"""


class MethodSettings(_Group):
    """How the classifier is made: its kind, and the settings of that kind, which its module defines."""

    kind: str = "bi-lstm"
    """the method; `jabert methods` lists them"""


class EnsembleSettings(MethodSettings):
    """Of a method whose result depends on the seed: how many fits make one model."""

    ensemble: Count = 1
    """fits with other seeds, whose mean answers; each costs as much as one"""
    distill: bool = False
    """one more fit learns from these, and is served in their place at the cost of one"""
    teacher: str | None = None
    """a kind of method or a recipe: what it makes of a row, out of fold, is half of the row's label"""


class TrainingSettings(_Group):
    """How a method that learns in epochs is trained; other methods read none of this but the seed."""

    epochs: Count = 30
    """at most"""
    batch_size: Count = 64
    """texts of a batch"""
    patience: Count = 5
    """epochs without a better value of the monitored metric"""
    monitor: Literal["val_weighted_f1", "val_acc", "val_loss"] = "val_weighted_f1"
    watch: Literal["validation", "test"] = "validation"
    """rows that choose the epoch; 'test' is the article's mistake"""
    averaging: Share = Field(0.95, json_schema_extra={"neutral": 0.0})
    """decay of the exponential moving average (EMA) of the weights, which replaces them after each epoch; 0:
    none"""
    shuffle: bool = True
    """shuffled batches of similar length; otherwise in the order of the data"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of the LSTM's matrix products on a CPU; auto: as for the encoder"""
    max_minutes: Positive | None = None
    """after which it ends, at the end of an epoch; the best epoch until then is kept"""
    seed: int = Field(0, ge=0, lt=2**32)
    work_path: Location = _location(".jabert/work")
    """folder of unfinished runs, from which a killed run goes on"""


class PromotionSettings(_Group):
    """When a new version becomes the champion: if it is strictly better, and what these ask on top."""

    min_gain: Share = 0.0
    """weighted F1 that a version must gain over the champion"""
    require_significance: bool = False
    """whether the 95 % interval of the gain must lie above 0"""
    floor: Annotated[float | Literal["chance"], BeforeValidator(_floor)] = "chance"
    """what the first champion must beat: `chance`, which is always the largest class and guessing by the
    training shares, the 95 % interval of the gain above 0; or a weighted F1; 0: nothing"""
    lock: Annotated[Location | None, AfterValidator(_lockable)] = _location()
    """file, or URL of a PostgreSQL database where several machines promote; without it a file for this
    machine"""


class TrackingSettings(_Group):
    """Where runs and models are recorded."""

    uri: Location | None = _location(kind=Kind.STORE)
    """MLflow server or database; without it $MLFLOW_TRACKING_URI, then mlruns/mlflow.db"""
    artifacts: Location | None = _location()
    """artifact folder of the experiment; without it mlruns/artifacts"""
    experiment: Annotated[Name, AfterValidator(_of_mlflow)] = "jabert"
    model_name: Annotated[Name, AfterValidator(_of_a_model)] = "jabert"
    """name of the registered model"""


class RegistrySettings(_Group):
    """Who vouches for the versions of the registered model; these settings decide no result."""

    sign_key: Location | None = _location()
    """file of the private key (Ed25519, PEM) that signs each version that is registered; the environment's
    `JABERT_SIGN_PASSWORD` is its password"""
    trusted_keys: Locations = _location(())
    """files of public keys; with any only versions that one of them signed are promoted, loaded and served"""


class PackageSettings(_Group):
    """The registered model."""

    max_texts: Count = 10_000
    """texts that it takes at a time; more are refused"""
    min_precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    """share of its answers that are to be right: a text of which it is not sure enough for that gets none;
    without it every text gets one"""


class ServingSettings(_Group):
    """Limits of `jabert serve`; they decide no result."""

    max_texts: Count = 512
    """of a request: its rows, and those in `before` and `after` that are not among them"""
    max_characters: Count = 10_000
    """of a text"""
    max_body_bytes: Count = 2_000_000
    """of a request behind its head, whatever they are: also chunk sizes, extensions and trailers"""
    timeout_seconds: Positive = 10.0
    """from the head of a request to its answer; also for a head, and between requests"""
    batch_texts: Count = 128
    """predicted together at most"""
    queue_texts: Count = 1024
    """that may wait; beyond it requests are refused"""
    poll_seconds: Positive = 1.0
    """between looks at the alias"""


class ExperimentSettings(_Group):
    """What is measured beside a model; it decides nothing about it."""

    baselines: bool = True
    """`retrain` fits `tfidf` and `majority` on the same rows too, and shows them beside the model"""


class LeaderboardSettings(_Group):
    """What `jabert leaderboard` measures."""

    methods: tuple[Name | dict[str, Any], ...] = ()
    """kinds of methods, recipes, of which `[method]` and `[training]` count, or inline tables, e.g. `{name =
    "wide", kind = "bi-lstm", units = 512, training = {epochs = 9}}`; without any: majority, tfidf,
    mean-pooling, stack, bi-lstm, finetune"""
    folds: Annotated[int, Field(ge=2)] = 5
    """parts of the rows, each classified by what learned from the others; groups stay together"""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)] = (0,)
    """one cross-validation each, with its own folds and training seed"""


class SweepSettings(_Group):
    """What `jabert sweep` tries; a quoted name of a setting in this group, with values, is one to choose."""

    space: dict[str, tuple[Any, ...]] = {}
    """values of each setting to choose: two numbers are the ends of a range, `[1e-5, 1e-4, "log"]` one on a
    logarithmic scale; any other list, and `[64, 256, "choose"]`, names the values themselves"""
    trials: Count = 20
    """in all, those of earlier calls included"""
    folds: Annotated[int, Field(ge=0), AfterValidator(_not_one)] = 0
    """0: the validation rows choose; else as many inner folds of all but the test rows, 2 at least"""
    pruner: Literal["median", "hyperband", "off"] = "median"
    """what ends a trial early, by its weighted F1 after each epoch, or after each fold"""
    seed: int = Field(0, ge=0, lt=2**31)
    """of the sampler (TPE)"""
    storage: Annotated[Location | None, AfterValidator(_lockable)] = _location()
    """SQLite file, or URL of a PostgreSQL database, with the trials; without it sweep.db in the folder of
    work"""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Take each entry whose name has a dot for a part of the space."""
        if not isinstance(given, dict):
            return given
        named = {name: values for name, values in given.items() if "." in name}
        own = {name: value for name, value in given.items() if "." not in name}
        return {**own, "space": {**own.get("space", {}), **named}} if named else own


class CorpusSettings(_Group):
    """Raw text for pretraining: one sentence a line, a blank line between documents, UTF-8."""

    paths: Locations = _location(())
    """files, globs, folders or URLs of raw text, also .gz, .bz2 and .xz"""
    licence: str = ""
    """of the texts and of a teacher; stands in the encoder's card"""
    validation_share: Share = 0.02
    """expected share of documents that are held out"""


class VocabularySettings(_Group):
    """The SentencePiece model of a new encoder."""

    path: Location | None = _location()
    """an existing model, taken as it is; without it one is trained"""
    size: Annotated[int, Field(ge=8)] = 32_000
    """pieces, the 7 special ones included"""
    lower_case: bool | None = None
    """without it that of the model or encoder given; a new model is lower-cased"""
    character_coverage: Annotated[float, Field(ge=0.98, le=1)] = 0.9995
    """share of all characters that get a piece; the rest is <unk>"""
    sample_sentences: Count = 1_000_000
    """drawn from the text to train the model on"""


class PretrainingSettings(_Group):
    """The BERT that is pretrained, and how."""

    out: Location = _location(".jabert/encoder")
    """folder to write the encoder to"""
    start: Location | None = _location()
    """encoder folder to go on from (warm start); it brings sizes and vocabulary"""
    teacher: Location | None = _location()
    """encoder folder whose vectors the new one learns as well; it brings the vocabulary"""
    teacher_weight: Positive = 1.0
    """of the error against the teacher, beside the other losses"""
    teacher_text_weight: Annotated[float, Field(ge=0)] = 0.5
    """of the error of a text's mean vector, beside that of each token's"""
    masked_lm_weight: Annotated[float, Field(ge=0)] = 1.0
    """of the masked-LM loss"""
    hidden_size: Count = 256
    """columns of a token vector"""
    layers: Count = 4
    heads: Count = 4
    """of attention; they divide hidden_size"""
    intermediate_size: Count = 1024
    """columns of the feed-forward layer"""
    positions: Annotated[int, Field(ge=3)] = 512
    """longest text that it will take, tokens"""
    dropout: Share = 0.1
    examples: Literal["pairs", "packed", "sentences"] = "pairs"
    """pairs: with next-sentence prediction; packed: running text; sentences: one by one"""
    max_tokens: Annotated[int, Field(ge=5)] = 128
    """of an example, special ones included"""
    short_share: Share = 0.1
    """share of examples of a random, shorter length"""
    masked_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """share of pieces to predict"""
    token_budget: Count = 4096
    """tokens of a batch, padding included"""
    steps: Count = 10_000
    warmup_steps: Annotated[int, Field(ge=0)] = 1000
    """of rising learning rate"""
    learning_rate: Positive = 5e-4
    """at its highest"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """of tables and kernels"""
    clip_norm: Positive = 1.0
    """longest gradient, over all variables"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products on a CPU; weights and all sums are float32"""
    report_steps: Count = 500
    """between measurements, each with a checkpoint"""
    dtype: Literal["float32", "float16"] = "float32"
    """of the weights that are written"""
    seed: int = Field(0, ge=0, lt=2**32)


class Settings(_Group):
    """All settings of one run. `recipe` is the name or path they were read from.

    Example:
        >>> settings = jabert.load_settings("knbc", ["data.path=KNBC_v1.0", "training.seed=3"])
        >>> settings.method.kind, settings.training.seed
        ('bi-lstm', 3)
    """

    recipe: str = ""
    note: str = ""
    """shown and recorded with each run of the recipe"""
    data: DataSettings = DataSettings()
    validation: ValidationSettings = ValidationSettings()
    encoder: EncoderSettings = EncoderSettings()
    features: FeaturesSettings = FeaturesSettings()
    method: MethodSettings = MethodSettings()
    training: TrainingSettings = TrainingSettings()
    package: PackageSettings = PackageSettings()
    experiment: ExperimentSettings = ExperimentSettings()
    leaderboard: LeaderboardSettings = LeaderboardSettings()
    sweep: SweepSettings = SweepSettings()
    corpus: CorpusSettings = CorpusSettings()
    vocabulary: VocabularySettings = VocabularySettings()
    pretraining: PretrainingSettings = PretrainingSettings()
    promotion: PromotionSettings = PromotionSettings()
    tracking: TrackingSettings = TrackingSettings()
    registry: RegistrySettings = RegistrySettings()
    serving: ServingSettings = ServingSettings()

    def __reduce__(self) -> tuple[Any, ...]:
        # The class for a kind of method is made when it is needed, so pickle finds it by the kind.
        return _restored, (self.method.kind, self.model_dump())

    def flat(self) -> dict[str, Any]:
        """Every setting by its dotted name, e.g. `{"data.seed": 0, …}`."""
        return {
            f"{group}.{key}": _recorded(value)
            for group, values in self.model_dump().items()
            if isinstance(values, dict)
            for key, value in values.items()
        }

    def to_toml(self) -> str:
        """The settings as a recipe that repeats the run; unset ones are left out.

        Of a URL scheme, host and path are written; `JABERT_URLS` or that setting says the rest.
        """
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True, exclude={"recipe"}))

    def without_locations(self) -> Self:
        """The same with defaults for all paths, URLs and the store; of a suite's path its name is kept."""
        tree = self.model_dump()
        for name, field in fields(type(self)).items():
            group, key = name.split(".")
            kind = about(field, "kind")
            if kind == Kind.SUITE:
                tree[group][key] = Path(tree[group][key]).name
            elif kind:
                del tree[group][key]
        return type(self).model_validate(tree)

    def digest(self) -> str:
        """Digest of the settings that decide a result, as `decisive` has them for all groups."""
        return digest_of_json(
            decisive(self, type(self).model_fields.keys() - {"tracking", "registry", "serving"})
        )


_WITHOUT_EFFECT = ("encoder.device", "encoder.checkpoint", "data.max_bytes", "features.max_bytes")


def decisive(settings: Settings, names: Iterable[str], without: Iterable[str] = ()) -> dict[str, Any]:
    """The settings that differ from their neutral value and decide a result, by dotted name.

    The neutral value is the first default that a setting ever had, so that a release that adds settings
    keeps the digests of yesterday, and one that changes a default does not. A field whose default is no
    longer its first names that as `neutral` in its `json_schema_extra`. Paths, URLs, the name of a checkpoint
    and the device never decide a result: what is found there has a digest of its own. Nor does a limit.

    Args:
        settings: of one run.
        names: of groups (`data`) or single settings (`training.seed`).
        without: single settings of these groups that are left out.
    """
    wanted, unwanted, flat = set(names), {*_WITHOUT_EFFECT, *without}, settings.flat()
    kind = MethodSettings().kind  # neutral, though each kind has its own name as the default
    return {
        name: Path(flat[name]).name if name.startswith("validation.") else flat[name]
        for name, field in fields(type(settings)).items()
        if (name in wanted or name.partition(".")[0] in wanted)
        and about(field, "kind") != Kind.LOCATION
        and name not in unwanted
        and flat[name] != (kind if name == "method.kind" else about(field, "neutral", field.default))
    }


def neutral_values(kind: str) -> dict[str, Any]:
    """The neutral values of all settings with a method of a kind, as a recipe has them, by dotted name.

    Without those that are unset, that name places, or that are of a method which is there no more.
    """
    model = settings_with_method(kind) if kind in method_kinds() else Settings
    values = {name: about(field, "neutral", field.default) for name, field in fields(model).items()}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None and not about(fields(model)[name], "kind")
    }


def _recorded(value: Any) -> Any:
    if isinstance(value, Url):
        return str(value)
    return tuple(map(_recorded, value)) if isinstance(value, tuple) else value


def method_kinds() -> list[str]:
    """The kinds of method that there are, sorted: the public modules of `jabert.methods`."""
    found = find_spec("jabert.methods")
    folders = (found and found.submodule_search_locations) or []
    names = (module.name for module in pkgutil.iter_modules(folders))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


@functools.cache
def settings_with_method(kind: str) -> type[Settings]:
    """`Settings` whose group `method` has the settings of a kind; its module is imported here, by name.

    Args:
        kind: one of `method_kinds`.
    """
    group = import_module(f"jabert.methods.{kind.replace('-', '_')}").METHOD.settings_type
    return create_model("Settings", __base__=Settings, __doc__=Settings.__doc__, method=(group, group()))


def _restored(kind: str, tree: dict[str, Any]) -> Settings:
    return settings_with_method(kind).model_validate(tree)


def fields(model: type[Settings] = Settings) -> dict[str, FieldInfo]:
    """Every setting by its dotted name."""
    return {
        f"{group}.{key}": field
        for group, holder in model.model_fields.items()
        if isinstance(holder.annotation, type) and issubclass(holder.annotation, _Group)
        for key, field in holder.annotation.model_fields.items()
    }


def about(field: FieldInfo, key: str, default: Any = None) -> Any:
    """What `json_schema_extra` of a setting says: by `kind` its `Kind`, by `neutral` its first default."""
    extra = field.json_schema_extra
    return extra.get(key, default) if isinstance(extra, dict) else default
