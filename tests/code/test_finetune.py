"""Fine-tuning: a packed BERT, its optimizer, resuming, heads, and the encoder that comes out."""

import json

import numpy as np
import pytest
import toy

from jabert.cli import main
from jabert.config import EncoderSettings, load_settings
from jabert.encoder import TokenIds, load_encoder, open_folder
from jabert.encoder.folder import read_variables
from jabert.errors import JabertError
from jabert.experiments import steps
from jabert.experiments.packaging import build_package, log_package, open_package
from jabert.files import write_json
from jabert.legacy_keras import import_tensorflow
from jabert.methods import method_of
from jabert.pretraining.export import export_encoder
from jabert.tracking import tracked_run

HEADS = ["mean", "cls", "attention", "bi-lstm"]
IDS = TokenIds.of([[4, 40, 41, 42, 43, 5], [4, 44, 5], [4, 50, 51, 52, 53, 54, 55, 5]])


def settings_of(table, encoder, *more):
    quick = ["data.path=" + str(table), f"encoder.path={encoder}", "data.test_share=0.25"]
    own = [
        "method.kind=finetune",
        "method.teacher=",
        "method.early_stopping=false",
        "method.epochs=2",
        "method.batch_size=16",
        "method.learning_rate=1e-3",
    ]
    return load_settings(
        None, [*quick, *own, "encoder.precision=float32", "training.precision=float32", *more]
    )


@pytest.fixture
def toy_settings(toy_table, toy_encoder):
    return lambda *more: settings_of(toy_table, toy_encoder, *more)


def fitted(settings, measured_on="test"):
    data = steps.read(settings)
    tokens = steps.tokenize(settings, data)
    fit = steps.fit(settings, data, tokens, measured_on, on_epoch=lambda epoch: None)
    return fit, steps.rows_of(settings, data, tokens, ["test"])


def bert_of(toy_encoder, **options):
    from jabert.encoder.bert import Bert

    folder = open_folder(toy_encoder)
    return Bert(read_variables(folder), folder.config, **options), folder


def test_without_padding_vectors_and_gradients_are_the_same(toy_encoder):
    tf = import_tensorflow()
    bert, folder = bert_of(toy_encoder)
    variables = [bert.variables[name] for name in bert.variables if "/layer_" in name]
    attended = tf.sequence_mask(IDS.lengths)

    with tf.GradientTape(persistent=True) as tape:
        padded = tf.boolean_mask(bert(IDS.padded(), attended), attended)
        packed = bert.packed(IDS.flat, IDS.lengths)
        of_padded, of_packed = (tf.reduce_sum(tf.square(x) * x[:, :1]) for x in (padded, packed))

    assert packed.numpy() == pytest.approx(padded.numpy(), abs=1e-5)
    weights = toy.read_checkpoint(folder.checkpoint)
    expected = np.concatenate([toy.numpy_bert(weights, toy.CONFIG, row) for row in IDS])
    assert packed.numpy() == pytest.approx(expected, abs=1e-4)
    for one, other in zip(
        tape.gradient(of_padded, variables), tape.gradient(of_packed, variables), strict=True
    ):
        assert other.numpy() == pytest.approx(one.numpy(), abs=1e-3, rel=1e-3)


def test_frozen_layers_have_neither_dropout_nor_a_gradient(toy_encoder):
    tf = import_tensorflow()
    bert, _ = bert_of(toy_encoder, dropout=0.5)
    with tf.GradientTape() as tape:
        x = bert.packed(IDS.flat, IDS.lengths, frozen=1, training=True)
        y = tf.reduce_sum(x * x[:, :1])
    gradients = tape.gradient(y, list(bert.variables.values()))
    of = dict(zip(bert.variables, gradients, strict=True))
    assert {name for name, gradient in of.items() if gradient is not None} == {
        name for name in bert.variables if "layer_1/" in name
    }
    frozen = [bert.packed(IDS.flat, IDS.lengths, frozen=2, training=True).numpy() for _ in range(2)]
    assert np.array_equal(*frozen)
    learning = [bert.packed(IDS.flat, IDS.lengths, frozen=1, training=True).numpy() for _ in range(2)]
    assert not np.array_equal(*learning)


def learner_of(settings, folder):
    from jabert.methods import Job
    from jabert.methods.finetune import training

    job = Job(settings, toy.LABELS, open_folder(settings.encoder.path), folder)
    return training.new_learner(job, 0.0, 10)


def test_a_batch_in_parts_is_learned_as_a_whole(toy_settings, tmp_path):
    ends = []
    for budget in (1000, 8):
        learner = learner_of(toy_settings(f"method.token_budget={budget}"), tmp_path)
        losses = [
            learner.learn(learner.texts(IDS), np.arange(3), np.eye(4, dtype=np.float32)[[0, 3, 1]])
            for _ in range(3)
        ]
        ends.append((losses, learner.read()))
    (one_losses, one), (other_losses, other) = ends
    assert one_losses == pytest.approx(other_losses, abs=1e-5) and one_losses[2] < one_losses[0]
    start = read_variables(open_folder(toy_settings().encoder.path))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=3e-4), name
        if name in start and not name.endswith("key/bias"):  # which no softmax of attention depends on
            assert not np.array_equal(value, start[name]), "it learns"


def test_training_begins_with_a_regression_on_the_encoder_as_it_was(toy_settings):
    at_rest = toy_settings("method.learning_rate=1e-12", "method.epochs=1")
    fit, rows = fitted(at_rest)
    regression = load_settings(
        None,
        [
            *(f"{name}={at_rest.flat()[name]}" for name in ("data.path", "encoder.path", "data.test_share")),
            *("method.kind=mean-pooling", "method.classifier=logistic", "method.c=0.02"),
            *("encoder.precision=float32", "features.dtype=float32"),
        ],
    )
    data = steps.read(regression)
    tokens = steps.tokenize(regression, data)
    steps.featurize(regression, tokens)
    frozen = steps.fit(regression, data, tokens, "test", on_epoch=lambda epoch: None)
    expected = method_of(regression).predict(frozen.job, steps.rows_of(regression, data, tokens, ["test"]))
    assert method_of(at_rest).predict(fit.job, rows) == pytest.approx(expected, abs=1e-4)


def test_a_long_text_is_read_in_windows_and_pooled_as_a_whole(toy_settings, tmp_path):
    learner = learner_of(toy_settings("encoder.max_tokens=4"), tmp_path)
    whole = TokenIds.of([[4, 40, 41, 5, 4, 42, 43, 5, 4, 44, 5], [4, 45, 5]])
    windows = whole.divided(4)
    assert windows.lengths.tolist() == [4, 4, 3, 3]
    of_windows = learner._by_text(learner._pool, learner.texts(windows))
    expected = [np.average(of_windows[:3], axis=0, weights=[4, 4, 3]), of_windows[3]]
    assert learner._by_text(learner._pool, learner.texts(whole)) == pytest.approx(
        np.array(expected), abs=1e-5
    )


@pytest.mark.parametrize("head", HEADS)
def test_a_package_answers_as_what_was_trained(head, toy_settings, tmp_path):
    from jabert.methods.finetune import training

    settings = toy_settings(f"method.head={head}")
    fit, rows = fitted(settings)
    trained = training.new_learner(fit.job, 0.0, 1, training.load_weights(fit.job))
    predicted = trained.predict(trained.texts(rows.token_ids()))

    classifier = open_package(build_package(fit.job, tmp_path / "package"))

    assert classifier.classify(rows.texts) == pytest.approx(predicted, abs=1e-4)
    assert classifier.classify(rows.texts[:1]) == pytest.approx(predicted[:1], abs=1e-4)
    assert (predicted.max(axis=1) > 0.5).any(), "it learned something"
    assert method_of(settings).describe(fit.job, fit.fitted).layers[-2].shape


def test_only_what_learned_is_stored_and_nothing_else_stays(toy_settings):
    fit, _ = fitted(toy_settings("method.frozen_layers=1"))
    with np.load(fit.job.folder / "best.npz", allow_pickle=False) as saved:
        names = set(saved)
    assert all("/layer_1/" in name or name.startswith("head/") for name in names)
    assert {path.name for path in fit.job.folder.iterdir()} >= {"best.npz", "history.json"}
    assert not list(fit.job.folder.glob("step-*"))


@pytest.mark.parametrize(
    "steps_done, kept, damage", [(2, 0, None), (5, 3, 0), (5, 3, 1), (5, 3, 4096), (11, 9, None)]
)
def test_a_killed_training_goes_on_from_its_last_saved_step(
    steps_done, kept, damage, *, toy_settings, monkeypatch, tmp_path, caplog
):
    from jabert.methods.finetune import training

    monkeypatch.setattr(training, "_SAVED", 3)
    whole, rows = fitted(toy_settings())
    again = toy_settings(f"training.work_path={tmp_path}/again")
    learn, left = training.Learner.learn, iter([True] * steps_done)

    def mortal(self, *arguments):
        if not next(left, False):
            raise KeyboardInterrupt
        return learn(self, *arguments)

    monkeypatch.setattr(training.Learner, "learn", mortal)
    with pytest.raises(KeyboardInterrupt):
        fitted(again)
    if damage is not None:  # of the vectors that the layers which stay have made
        (path,) = (tmp_path / "again").rglob("frozen-rows")
        content = path.read_bytes()
        path.write_bytes(content[:damage] if damage < 9 else content[:damage] + b"\1" + content[damage + 1 :])
    left = iter([True] * (int(whole.fitted.history[-1]["step"]) - kept))
    resumed, _ = fitted(again)

    assert (damage is not None) == ("frozen-rows is damaged; it is set aside" in caplog.text)
    assert not next(left, False), "what was saved was not learned again, and all else was"
    for one, other in zip(whole.fitted.history, resumed.fitted.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    method = method_of(again)
    assert np.array_equal(method.predict(whole.job, rows), method.predict(resumed.job, rows))


def test_with_its_lowest_layers_it_is_as_an_encoder_that_has_no_others(toy_settings, tmp_path):
    lower = toy_settings("method.layers=1")
    shallow = toy.make_encoder(tmp_path / "shallow", num_hidden_layers=1)
    weights = toy.read_checkpoint(open_folder(lower.encoder.path).checkpoint)
    toy.write_checkpoint(
        open_folder(shallow).checkpoint,
        {name: value for name, value in weights.items() if "layer_1/" not in name},
    )
    fit, rows = fitted(lower)
    other, other_rows = fitted(toy_settings(f"encoder.path={shallow}"))

    package = build_package(fit.job, tmp_path / "package")
    predicted = open_package(package).classify(rows.texts)

    assert np.array_equal(predicted, method_of(lower).predict(other.job, other_rows))
    habits = json.loads(next(package.rglob("network.json")).read_text())
    assert habits["bert_config"]["num_hidden_layers"] == 1
    described = method_of(lower).describe(fit.job, fit.fitted)
    assert "Layers kept of the encoder: the lowest 1 of 2." in described.protocol
    assert sum(layer.repeated for layer in described.layers if layer.name == "transformer block") == 1
    assert open_folder(export_encoder(package, tmp_path / "exported", "")).config.num_hidden_layers == 1


def test_the_epoch_is_chosen_where_that_is_wanted(toy_settings):
    settings = toy_settings("method.early_stopping=true", "method.epochs=4", "training.patience=1")
    last = toy_settings("method.early_stopping=false")
    assert method_of(settings).chooses and not method_of(last).chooses
    fit, _ = fitted(settings)
    history = fit.fitted.history
    assert fit.learned_from == ["train"]
    best = max(history, key=lambda epoch: epoch["val_weighted_f1"])
    assert fit.fitted.best_epoch == best["epoch"] >= len(history) - 1
    assert fitted(last)[0].learned_from == ["train", "validation"]


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("method.frozen_layers=2", "method.frozen_layers is 2, but the encoder has 2 layers"),
        ("method.layers=3", "method.layers is 3, but the encoder has 2; set 2 or fewer"),
        ("encoder.pad_to=32", "encoder.pad_to is set"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_sentence(override, sentence, toy_settings):
    with pytest.raises(JabertError, match=sentence):
        fitted(toy_settings(override))


def test_the_encoder_has_a_name_of_its_own_and_can_be_exported(toy_settings, tmp_path, capsys):
    root = tmp_path / "store"
    root.mkdir()
    settings = toy_settings(f"tracking.uri=sqlite:///{root}/mlflow.db")
    fit, rows = fitted(settings)
    package = build_package(fit.job, tmp_path / "package")
    habits = json.loads(next(package.rglob("network.json")).read_text())
    base = open_folder(settings.encoder.path)
    assert habits["encoder_fingerprint"] != base.fingerprint
    with tracked_run(settings) as run:
        learned_from = write_json(root / "learned_from.json", {"rows": [], "groups": []})
        uri = log_package(package, learned_from, run)
    import mlflow

    version = mlflow.register_model(uri, settings.tracking.model_name).version
    out = tmp_path / "exported"

    with pytest.raises(SystemExit) as end:
        main(["encoder", "export", str(version), str(out), "--set", f"tracking.uri={settings.tracking.uri}"])

    assert end.value.code == 0, capsys.readouterr().err
    exported = open_folder(out)
    assert exported.config == base.config and exported.fingerprint != base.fingerprint
    weights, before = read_variables(exported), read_variables(base)
    with np.load(fit.job.folder / "best.npz", allow_pickle=False) as saved:
        trained = {name: value for name, value in saved.items() if name.startswith("bert/")}
    for name, value in {**before, **trained}.items():
        assert np.array_equal(weights[name], value), name
    ids = rows.token_ids().take(np.arange(3))
    by_keras = load_encoder(exported, EncoderSettings(engine="reference"))(ids)
    by_numpy = [toy.numpy_bert(weights, toy.CONFIG, row) for row in ids]
    assert by_keras == pytest.approx(np.concatenate(by_numpy), abs=1e-4)


def test_scoring_takes_no_vector_of_the_encoder_that_it_began_with(toy_settings, tmp_path):
    from jabert.features import open_store
    from jabert.scoring.champion import _Member

    settings = toy_settings(f"features.path={tmp_path}/features", "features.dtype=float32")
    fit, rows = fitted(settings)
    steps.featurize(settings, steps.tokenize(settings, steps.read(settings)))
    assert len(open_store(fit.job.encoder, settings))
    classifier = open_package(build_package(fit.job, tmp_path / "package"))
    member = _Member(classifier.members[0], tmp_path / "features")

    probabilities, known = member.classify(member.prepare(rows.texts))

    assert known == 0
    assert probabilities == pytest.approx(classifier.classify(rows.texts), abs=1e-5)


def test_adamw_is_that_of_keras():
    from jabert.training.optimizer import AdamW

    tf = import_tensorflow()
    random = np.random.default_rng(0)
    values = [random.normal(size=(3, 4)).astype(np.float32), random.normal(size=4).astype(np.float32)]
    own, theirs = ([tf.Variable(value) for value in values] for _ in range(2))
    optimizer = AdamW(own, weight_decay=0.1, clip_norm=1.0, rates=[1.0, 1.0])
    keras = tf.keras.optimizers.AdamW(
        0.01, weight_decay=0.1, epsilon=1e-6, global_clipnorm=1.0, jit_compile=False
    )
    keras.exclude_from_weight_decay(var_list=[theirs[1]])
    for _ in range(5):
        gradients = [tf.constant(random.normal(size=v.shape).astype(np.float32)) for v in values]
        optimizer.apply(gradients, 0.01)
        keras.apply_gradients(zip(gradients, theirs, strict=True))
    for one, other in zip(own, theirs, strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-6)


def test_averages_follow_the_weights():
    from jabert.training.optimizer import Averages

    tf = import_tensorflow()
    variable = tf.Variable([0.0])
    averages = Averages([variable], 0.9)
    variable.assign([1.0])
    averages.update(tf.constant(1000, tf.int64))
    averages.swap()
    assert variable.numpy() == pytest.approx([0.1])
    averages.swap()
    assert variable.numpy() == pytest.approx([1.0])
