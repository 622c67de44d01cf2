"""Every method has all rights: trained, judged, carded, compared, served, scored, rolled back to."""

import json

import pandas as pd
import pytest
import toy

from flows.retrain import retrain
from flows.score import score
from jabert.cli import main
from jabert.config import load_settings, method_kinds
from jabert.encoder import Tokenizer
from jabert.methods import method_of
from jabert.registry import open_registry
from jabert.serving.models import address_of, find_version, load

TEXTS = ["京都のお寺を歩いた。", "電話の電池が切れた。", "カレーを食べた。"]


def said(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def settings_for(kind, overrides):
    own = [override for override in overrides if not override.startswith("method.")]
    return [*own, f"method.kind={kind}"] if kind != "bi-lstm" else overrides


OFTEN = {"stack", "tfidf"}  # the others, half a minute each, are for `make test-slow`
KINDS = [
    pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow)
    for kind in method_kinds()
    if kind != "bi-lstm"
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_has_all_rights_and_uses_what_another_one_made(overrides, kind, capsys, monkeypatch):
    first = retrain("", overrides)
    tokenized = []
    monkeypatch.setattr(Tokenizer, "__call__", lambda *_: tokenized.append(1))
    with monkeypatch.context() as patched:
        patched.setattr("jabert.experiments.steps.read_corpus", None)
        patched.setattr("jabert.experiments.steps.check_texts", None)
        second = retrain("", settings_for(kind, overrides))

    assert not tokenized and second["features"]["computed"] == 0
    settings = load_settings("", settings_for(kind, overrides))
    method = method_of(settings)
    expected = first["features"]["computed"] if "vectors" in method.needs else 0
    assert second["features"]["reused"] == expected
    assert second["champion_weighted_f1"] == first["weighted_f1"], "judged against the other method"
    registry = open_registry(load_settings())
    run = registry.run("2")
    own = {name for name in run.data.params if name.startswith("method.")}
    assert run.data.params["method.kind"] == kind
    assert own == {f"method.{name}" for name in type(settings.method).model_fields}
    drawn = {file.path for file in registry.client.list_artifacts(run.info.run_id, "training")}
    has_epochs = kind in ("bi-lstm", "finetune", "word2vec")
    epochs = {"training/history.csv", "training/learning_curves.png"} if has_epochs else set()
    assert drawn == {"training/model_structure.png", *epochs}

    if not second["promoted"]:
        forced = said(capsys, "models", "promote", "2", "--force", "--json", *options(overrides))
        assert json.loads(forced)["promoted"]
    card = said(capsys, "models", "card", "2")
    learned = second["rows"]["train"] + (0 if method.chooses else second["rows"]["validation"])
    assert f"trained on {learned} texts" in card
    assert ("learned from the validation rows too" in card) != method.chooses
    assert "method.kind" in json.loads(said(capsys, "models", "diff", "1", "2", "--json"))["settings"]

    served = load(find_version(registry.client, address_of("models:/jabert@champion")), batch_texts=4)
    answers = served.predict(TEXTS, {"top_k": 1})
    assert {answer["label"] for answer in answers} <= set(toy.LABELS)
    pd.DataFrame({"text": [*TEXTS, " "]}).to_csv("in.csv", index=False)
    scored = score("in.csv", "out.csv", "", [])
    assert (scored["scored"], scored["failed"], scored["model_version"]) == (3, 1, "2")
    out = pd.read_csv("out.csv")
    assert out["label"][:3].tolist() == [answer["label"] for answer in answers]

    said(capsys, "models", "rollback")
    assert registry.champion() == "1"


def options(overrides):
    return [word for override in overrides for word in ("--set", override)]
