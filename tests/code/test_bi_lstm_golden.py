"""The Bi-LSTM is, to the last bit, what it was before methods were divided: both commits' code is run."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "12001e0517d71b3d2ad15f9d523e0d3b9375b2a3"

HEAD = """
    import hashlib, json, sys
    from pathlib import Path
    from types import SimpleNamespace
    import h5py, numpy as np, pandas as pd
    import toy
    import jabert
    from jabert.config import load_settings
    from jabert.encoder import Tokenizer, open_folder
    from jabert.features import featurize, open_store, row_keys

    settings, out = load_settings(None, sys.argv[2:]), Path(sys.argv[1])
    folder, table = open_folder(settings.encoder.path), toy.toy_rows()
    texts = table["text"].tolist()
    ids = Tokenizer(folder, settings.encoder)(texts).ids
    featurize(ids, folder, settings)
    store = open_store(folder, settings)
    classes = np.array([toy.LABELS.index(label) for label in table["label"]], dtype=np.int32)
    held_out = (table["group"] >= "article-32").to_numpy()
    train_rows, watched_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    epochs = []
"""
OLD = """
    from jabert.classifier import LabelledRows, load_classifier, predict, train
    from jabert.package import TextClassifier
    from jabert.packaging import build_package

    def rows(chosen):
        return LabelledRows(row_keys(ids)[chosen], ids.lengths[chosen], classes[chosen])

    arguments = {"classifier": settings.classifier, "training": settings.training, "folder": out / "training"}
    train(store, rows(train_rows), rows(watched_rows), 4, **arguments, on_epoch=epochs.append)
    model = load_classifier(out / "training", store.hidden_size, 4, settings.classifier)
    predicted = predict(model, rows(watched_rows).find_in(store), 16)
    package = build_package(folder, out / "training", toy.LABELS, settings, out / "package")
    classifier = TextClassifier()
    classifier.load_context(SimpleNamespace(artifacts={"classifier": str(package)}))
"""
NEW = """
    from jabert.experiments.packaging import build_package, open_package
    from jabert.methods import Job, method_of
    from jabert.methods.bi_lstm.training import load_classifier, predict
    from jabert.training.rows import Rows, StoredVectors

    rows = Rows(texts, classes, ids=ids, vectors=StoredVectors.find(store, ids, 64))
    parts = rows.take(train_rows), rows.take(watched_rows)
    (out / "training").mkdir()
    job = Job(settings, toy.LABELS, folder, out / "training")
    method_of(settings).fit(job, *parts, epochs.append)
    model = load_classifier(out / "training", store.hidden_size, 4, settings.method.units)
    model.save_weights(out / "training" / "best.h5")  # in the form of version 0.1
    predicted = predict(model, parts[1].stored_vectors(), 16)
    package = build_package(job, out / "package")
    classifier = open_package(package)
"""
TAIL = """
    def digest(*arrays):
        found = hashlib.sha256()
        for array in arrays:
            array = np.ascontiguousarray(array)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return found.hexdigest()

    weights = []
    with h5py.File(out / "training" / "best.h5") as file:
        file.visititems(lambda name, item: weights.append(item[()]) if hasattr(item, "shape") else None)
    answers = classifier.predict(None, pd.DataFrame({"text": texts}))["probabilities"]
    packaged = np.array([[of[label] for label in toy.LABELS] for of in answers])
    timeless = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]
    print(json.dumps({
        "code": jabert.__file__,
        "weights": digest(*weights),
        "shapes": [weight.shape for weight in weights],
        "predicted": digest(predicted),
        "packaged": digest(packaged),
        "history": timeless,
    }))
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A folder with the package as it was, out of the history of this clone."""
    folder = tmp_path_factory.mktemp("before")
    packed = subprocess.run(["git", "archive", BEFORE, "jabert"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"commit {BEFORE[:7]} is not in this clone: {packed.stderr.decode().strip()}")
    subprocess.run(["tar", "-x"], cwd=folder, input=packed.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def overrides(toy_encoder, tmp_path_factory):
    """One feature store for both, so that they learn from the same vectors."""
    root = tmp_path_factory.mktemp("golden")
    return [
        f"encoder.path={toy_encoder}",
        f"encoder.cache_path={root}/engines",
        f"features.path={root}/features",
        "encoder.device=cpu",
        "encoder.precision=float32",
        "training.precision=float32",
        "training.batch_size=16",
        "training.epochs=2",
        "training.averaging=0.9",
        "training.seed=5",
        "classifier.units=7",
        "classifier.dropout=0.4",
    ]


def run(code, package, out, overrides):
    program = textwrap.dedent(HEAD) + textwrap.dedent(code) + textwrap.dedent(TAIL)
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([str(package), str(ROOT / "tests")]),
    }
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), *overrides],
        env=environment,
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found.pop("code")).is_relative_to(package)
    return found


def test_weights_history_and_probabilities_are_those_of_the_code_before(before, overrides, tmp_path):
    old = run(OLD, before, tmp_path / "old", overrides)
    assert [7, 28] in old["shapes"] and len(old["history"]) == 2
    assert run(NEW, ROOT, tmp_path / "new", overrides) == old
