"""A champion that looks at neighbours: a table scored by it, as MLflow loads it, and judged by the gate."""

import json
import logging
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
import toy
import toy_package
from toy_registry import ROWS, gate, log_model, new_version, toy_registry

from jabert.cli import main
from jabert.config import load_settings
from jabert.dataset.context import with_neighbours
from jabert.errors import JabertError
from jabert.experiments.packaging import log_package, open_package
from jabert.files import write_json
from jabert.registry import classify, open_registry
from jabert.scoring import champion, open_job, score
from jabert.tracking import tracked_run

TEXTS = toy.toy_rows()["text"].tolist()[:60]
CONTEXT = {"texts": 2, "own": 0.7, "neighbours": 1.5, "bias": [0.2, -0.2]}


def package_in(folder, **more):
    random = np.random.default_rng(0)
    letters = sorted(set("".join(TEXTS)) - set("。"))
    kernel = random.normal(0, 3, (len(letters), 2))
    toy_package.write_ngrams(folder / "linear", letters, kernel, np.zeros(2))
    return toy_package.write_about(folder, ["京都", "電話"], {"linear": "ngrams"}, **more)


@pytest.fixture(scope="module", params=[{}, {"power": 2}], ids=["made before", "made now"])
def classifier(request, tmp_path_factory):
    """The champion of the settings' registry, opened, and the settings."""
    root = tmp_path_factory.mktemp("champion")
    package = package_in(root / "package", temperature=0.8, context=CONTEXT | request.param)
    settings = load_settings(None, [f"tracking.uri=sqlite:///{root}/mlflow.db"])
    with tracked_run(settings) as run:
        learned_from = write_json(root / "learned_from.json", {"rows": [], "groups": []})
        uri = log_package(package, learned_from, run)
    version = mlflow.register_model(uri, "jabert").version
    run.client.set_registered_model_alias("jabert", "champion", version)
    return open_package(package), settings


def rows_in(order):
    """Texts in 7 groups of unequal length, some in none, in an order of the file."""
    random = np.random.default_rng(1)
    groups = [f"g{number}" for number in random.integers(8, size=len(TEXTS))]
    rows = pd.DataFrame({"text": TEXTS, "group": [None if of == "g7" else of for of in groups]})
    rows["label"] = "of the input"  # a name that the answers have too
    rows["place"] = random.permutation(len(rows))
    return (
        rows.sort_values("group", kind="stable") if order == "sorted" else rows.sample(frac=1, random_state=0)
    )


def expected_of(classifier, rows, order_column=None):
    table = rows.reset_index(drop=True).assign(file="", line=range(len(rows)))
    if order_column:
        table["order"] = table[order_column].astype("str")
    return classifier.predict(None, with_neighbours(table, 2)[["text", "before", "after"]])


def scored(settings, rows, name="in.csv", chunk_rows=7, on_progress=None):
    match name.rpartition(".")[2]:
        case "csv":
            rows.to_csv(name, index=False)
        case "jsonl":
            rows.to_json(name, orient="records", lines=True, force_ascii=False)
        case "parquet":
            rows.to_parquet(name, index=False)
    job = replace(open_job(settings, name, "out.parquet"), chunk_rows=chunk_rows)
    result = score(job, on_progress)
    return result, pd.read_parquet("out.parquet")


def assert_same(out, expected):
    assert out["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(out["score"].astype(float), expected["score"], atol=1e-12)
    found = [dict(each) for each in out["probabilities"]]
    for one, other in zip(found, expected["probabilities"], strict=True):
        assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_each_text_is_scored_as_predict_does_it_with_its_neighbours(classifier, name, order):
    model, settings = classifier
    rows = rows_in(order)

    result, out = scored(settings, rows, name)

    assert (result.context, result.scored, result.computed) == (2, 60, 60)
    assert out["text"].tolist() == rows["text"].tolist()
    assert_same(out, expected_of(model, rows))
    alone = model.predict(None, rows[["text"]])
    assert np.abs(out["score"].to_numpy() - alone["score"].to_numpy()).max() > 0.05
    assert json.loads(json.dumps(result.to_dict()))["context"] == 2


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_the_order_is_that_of_its_column(classifier, name):
    model, settings = classifier
    data = settings.data.model_copy(update={"order_column": "place", "group_column": "article"})
    rows = rows_in("mixed").rename(columns={"group": "article"})

    _, out = scored(settings.model_copy(update={"data": data}), rows, name)

    assert_same(out, expected_of(model, rows.rename(columns={"article": "group"}), "place"))


def test_a_text_is_classified_once(classifier, monkeypatch):
    asked, classify = [], champion._Member.classify

    def noted(member, texts):
        asked.extend(texts)
        return classify(member, texts)

    monkeypatch.setattr(champion._Member, "classify", noted)
    rows = rows_in("sorted")
    scored(classifier[1], rows)
    assert asked == rows["text"].tolist()


def test_a_cell_without_a_text_is_no_neighbour_and_keeps_its_reason(classifier):
    model, settings = classifier
    rows = rows_in("sorted").reset_index(drop=True)
    rows.loc[[3, 10, 11], "text"] = ["", "　", None]  # they hold their places: no farther text steps in

    result, out = scored(settings, rows, "in.parquet")

    assert (result.scored, result.failed) == (57, 3)
    reasons = out["reason"][out["reason"].notna()]
    assert reasons.to_dict() == {3: "text is blank", 10: "text is blank", 11: "text is null"}
    good = out["reason"].isna()
    table = with_neighbours(rows.fillna({"text": ""}).assign(file="", line=range(60)), 2)
    assert_same(out[good], model.predict(None, table.loc[good, ["text", "before", "after"]]))


def test_a_table_without_groups_is_scored_text_by_text_and_that_is_said(classifier, caplog):
    model, settings = classifier
    rows = rows_in("sorted").drop(columns="group")
    with caplog.at_level(logging.WARNING, "jabert"):
        result, out = scored(settings, rows)
    assert result.context == 0
    (said,) = [record.getMessage() for record in caplog.records if record.name == "jabert"]
    assert said.endswith("in.csv has no column 'group': each text is scored without its neighbours")
    assert_same(out, model.predict(None, rows[["text"]]))


def test_groups_without_the_column_of_their_order_are_refused(classifier):
    settings = classifier[1]
    data = settings.data.model_copy(update={"order_column": "position"})
    with pytest.raises(JabertError, match=r"in\.csv has no column 'position' but: 'text', 'group', 'label'"):
        scored(settings.model_copy(update={"data": data}), rows_in("sorted"))


def test_a_group_that_is_no_text_is_refused_by_its_line(classifier):
    rows = rows_in("sorted").astype(object).reset_index(drop=True)
    rows.loc[20, "group"] = 1.5
    with pytest.raises(JabertError, match=r"in\.jsonl, line 21, column 'group': 1\.5 is not text"):
        scored(classifier[1], rows, "in.jsonl")


@pytest.mark.parametrize("column", [None, "place"])
def test_a_rerun_takes_the_chunks_of_before_also_where_neighbours_lie_in_others(classifier, column):
    """Even with another order: what a chunk left depends on its texts alone."""
    model, settings = classifier
    rows = rows_in("mixed")

    def stop(done, total):
        if done >= 35:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scored(settings, rows, on_progress=stop)
    data = settings.data.model_copy(update={"order_column": column})
    result, out = scored(settings.model_copy(update={"data": data}), rows)
    assert result.resumed >= 28 and result.computed + result.resumed == 60
    assert_same(out, expected_of(model, rows, column))


def test_a_table_without_rows(classifier):
    result, out = scored(classifier[1], rows_in("sorted")[:0])
    assert (result.rows, len(out)) == (0, 0)


# As MLflow loads it


@pytest.fixture(scope="module")
def loaded(classifier):
    return open_registry(classifier[1]).load_champion()


ROW = {"text": TEXTS[0], "before": TEXTS[1:3], "after": [TEXTS[3]]}


@pytest.mark.parametrize(
    "beside",
    [
        {"before": ROW["before"], "after": ROW["after"]},
        {"before": np.array(ROW["before"]), "after": np.array(ROW["after"], dtype=object)},
        {"after": ROW["after"]},
        {"before": None, "after": ROW["after"]},
        {"before": [], "after": ROW["after"]},
        {"before": np.array([], dtype=object), "after": [*ROW["after"], " "]},
    ],
    ids=str,
)
def test_mlflow_hands_on_the_texts_beside_a_text(classifier, loaded, beside):
    columns = {name: pd.Series([cell, None], dtype=object) for name, cell in beside.items()}
    rows = pd.DataFrame({"text": [TEXTS[0], TEXTS[9]], **columns})
    found, expected = loaded.predict(rows), classifier[0].predict(None, rows)
    alone = loaded.predict(rows[["text"]])["score"]
    assert found["probabilities"].tolist() == expected["probabilities"].tolist()
    assert found["score"][0] != alone[0]
    assert found["score"][1] == pytest.approx(alone[1], abs=1e-12)


def test_json_as_mlflows_server_reads_it_reaches_the_model(classifier, loaded):
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    schema = loaded.metadata.get_input_schema()
    expected = classifier[0].predict(None, pd.DataFrame([ROW]))
    split = {"columns": list(ROW), "data": [list(ROW.values())]}
    for body in ({"dataframe_records": [ROW]}, {"dataframe_split": split}, {"inputs": [ROW]}):
        found = loaded.predict(infer_and_parse_data(body, schema))
        assert found["score"].tolist() == expected["score"].tolist()


def test_what_is_no_list_of_texts_is_refused(loaded):
    with pytest.raises(mlflow.exceptions.MlflowException, match="Expected data to be list or numpy array"):
        loaded.predict(pd.DataFrame({"text": ["京都"], "before": ["電話"]}))


def test_rows_with_groups_are_classified_with_their_neighbours(classifier, loaded):
    rows = rows_in("mixed").reset_index(drop=True).assign(file="x.csv", line=range(60))
    found, expected = classify(loaded, rows), expected_of(classifier[0], rows)
    assert found.to_dict("records") == expected["probabilities"].tolist()
    alone = classify(loaded, rows.drop(columns="group"))
    assert alone.to_dict("records") == loaded.predict(rows[["text"]])["probabilities"].tolist()


def said(capsys, classifier, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*words, "--set", f"tracking.uri={classifier[1].tracking.uri}"])
    return ended.value.code, capsys.readouterr()


def test_the_command_line_takes_json(classifier, capsys):
    options = [f"--{name}={json.dumps(ROW[name])}" for name in ("before", "after")]
    code, said_of = said(capsys, classifier, "predict", ROW["text"], *options, "--json")
    (answer,) = json.loads(said_of.out)
    expected = classifier[0].predict(None, pd.DataFrame([ROW]))
    assert (code, answer["probabilities"]) == (0, expected["probabilities"][0])


def test_the_command_line_refuses_neighbours_for_a_champion_without_context(classifier, capsys, tmp_path):
    registry = toy_registry("alone", f"tracking.uri={classifier[1].tracking.uri}")
    version = new_version(registry, log_model(registry, tmp_path / "70", 70))
    registry.client.set_registered_model_alias("alone", "champion", version)
    words = ("predict", ROWS["text"][0], "--set", "tracking.model_name=alone")
    assert said(capsys, classifier, *words)[0] == 0
    code, said_of = said(capsys, classifier, *words, "--before", "[]")
    assert (code, said_of.out) == (1, "")
    assert "the champion of 'alone' looks at a text alone" in said_of.err


# The gate


@pytest.fixture
def judge(classifier, tmp_path, request):
    """Judges a new version: right about so many rows alone, and perhaps about others in their context."""
    registry = toy_registry(request.node.name, f"tracking.uri={classifier[1].tracking.uri}")
    rows = ROWS.assign(file="x.csv", line=range(len(ROWS)))

    def judged(right, rows=rows, **about):
        uri = log_model(registry, tmp_path / f"{right}-{len(about)}", right, **about)
        return gate(registry, rows).judge(new_version(registry, uri))

    judged.rows = rows
    return judged


def test_with_and_without_context_are_judged_on_the_same_rows_each_given_what_it_takes(judge):
    judge(60)
    better = judge(40, right_in_context=80)
    worse, best = judge(70), judge(90)
    assert [of.outcome for of in (better, worse, best)] == ["promoted", "kept", "promoted"]
    assert better.weighted_f1 == pytest.approx(0.8, abs=0.01)
    assert better.champion_weighted_f1 == pytest.approx(0.6, abs=0.01)
    assert worse.champion_weighted_f1 == best.champion_weighted_f1 == better.weighted_f1
    assert {of.compared_rows for of in (better, worse, best)} == {100}
    assert judge(50, right_in_context=85).outcome == "kept"


def test_where_test_rows_have_no_groups_a_model_with_context_is_judged_on_texts_alone(judge):
    rows = judge.rows.drop(columns="group")
    judge(60, rows)
    assert judge(40, rows, right_in_context=80).outcome == "kept"
