import pickle
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jabert.config import (
    Settings,
    bundled,
    bundled_recipes,
    fields,
    list_settings,
    load_settings,
    local_database,
    names_method,
)
from jabert.errors import JabertError


def recipe_file(folder, text, name="mine.toml"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_packaged_recipes_are_known_by_name():
    assert {"jabert-mini", "knbc", "sample", "seed"} <= set(bundled_recipes())


def test_names_of_what_comes_with_jabert_stay_names_and_a_path_can_say_that_it_is_one(tmp_path):
    settings = load_settings(None, ["data.path=sample", "encoder.path=jabert-mini"])
    assert (settings.data.path, settings.encoder.path) == ("sample", "jabert-mini")
    assert load_settings(None, ["data.path=./sample"]).data.path == str(tmp_path / "sample")
    assert bundled("sample", "data.path").is_file()
    assert bundled("sample", "encoder.path") is None
    assert bundled(None, "data.path") is None


def test_several_locations_are_each_made_absolute_and_one_may_stand_alone(tmp_path):
    several = load_settings(None, ['corpus.paths=["a.txt", "https://example.org/b.gz"]'])
    assert several.corpus.paths == (str(tmp_path / "a.txt"), "https://example.org/b.gz")
    assert load_settings(None, ["corpus.paths=a.txt"]).corpus.paths == (str(tmp_path / "a.txt"),)
    path = recipe_file(tmp_path / "recipes", '[corpus]\npaths = ["../a.txt"]\n')
    assert load_settings(path).corpus.paths == (str(tmp_path / "a.txt"),)
    secret = load_settings(None, ["corpus.paths=https://me:secret@example.org/b.gz"])
    assert "secret" not in str(secret.flat()["corpus.paths"]) + secret.to_toml()


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_packaged_recipe_loads_by_its_name(name):
    settings = load_settings(name)
    assert settings.recipe == name
    written = tomllib.loads(bundled_recipes()[name].read_text(encoding="utf-8"))
    for group, values in written.items():
        if group != "note":
            for key, value in values.items():
                expected = tuple(value) if isinstance(value, list) else value
                assert getattr(getattr(settings, group), key) == expected


def test_recipe_seed_is_the_articles_protocol_and_says_what_is_wrong_with_it():
    settings = load_settings("seed")
    assert (settings.training.batch_size, settings.training.epochs, settings.training.patience) == (
        128,
        100,
        5,
    )
    assert (settings.training.monitor, settings.training.watch) == ("val_acc", "test")
    assert not settings.training.shuffle
    assert settings.data.test_rows == 419
    assert settings.encoder.lower_case is False
    assert settings.encoder.pad_to is None
    assert "test rows choose" in settings.note


def test_without_a_recipe_the_defaults_hold():
    settings = load_settings()
    assert settings.recipe == ""
    assert settings.method.kind == "stack" and settings.method.members == ("tfidf", "mean-pooling")
    assert settings.features.dtype == "float16"


def test_settings_of_a_method_that_is_not_named_tell_which_is_meant(tmp_path):
    assert load_settings(None, ["method.units=8"]).method.kind == "bi-lstm", "as before there were others"
    assert load_settings(None, ["method.folds=3"]).method.folds == 3
    own = tmp_path / "own.toml"
    own.write_text("[classifier]\nunits = 8\n")
    assert load_settings(own).method.units == 8
    assert load_settings(own, ["method.kind=stack"]).method.kind == "stack"
    assert names_method(own, []) and names_method(None, ["method.folds=3"]) and names_method("knbc", [])
    assert not names_method(None, ["data.seed=1"])


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("data.pat=x", "data.path"),
        ("training.batchsize=3", "training.batch_size"),
        ("data.patience=1", "training.patience"),  # the right key in the wrong group
        ("method.unit=3", "method.units"),
        ("datta.path=x", "data.path"),
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest(override, nearest):
    with pytest.raises(JabertError) as error:
        load_settings(None, [override])
    assert str(error.value) == f"there is no setting {override.partition('=')[0]}; the nearest is {nearest}"


def test_an_unknown_setting_of_a_recipe_is_named_with_the_nearest(tmp_path):
    path = recipe_file(tmp_path, "[training]\npatient = 3\n")
    with pytest.raises(JabertError, match=r"there is no setting training\.patient; .* training\.patience"):
        load_settings(path)


@pytest.mark.parametrize(
    ("written", "group"), [("trainings", "training"), ("datta", "data"), ("encodr", "encoder")]
)
def test_an_unknown_group_is_named_with_the_nearest(tmp_path, written, group):
    path = recipe_file(tmp_path, f"[{written}]\nseed = 3\n")
    with pytest.raises(JabertError, match=rf"there is no setting {written}; the nearest group is {group}$"):
        load_settings(path)


def test_an_unknown_setting_of_a_misspelt_group_is_answered_with_the_group():
    with pytest.raises(JabertError, match=r"there is no setting datta\.zzz; the nearest group is data$"):
        load_settings(None, ["datta.zzz=1"])


@pytest.mark.parametrize(
    ("name", "hint"), [("zzz.qqq", ""), ("dat.tst_shr", "the nearest is data.test_share")]
)
def test_a_setting_unlike_all_others_is_answered_with_where_they_are_listed(name, hint):
    with pytest.raises(JabertError) as raised:
        load_settings(None, [f"{name}=1"])
    sentence = str(raised.value)
    assert sentence.startswith(f"there is no setting {name}; {hint}") and len(sentence) < 150
    assert hint or sentence.endswith("; `jabert settings` lists all")


def test_the_settings_of_a_group_are_listed():
    every = list_settings()
    assert {each["setting"] for each in every} > set(fields())
    assert all(each["meaning"].count("\n") == 0 for each in every)
    chosen = list_settings("features")
    assert [each["setting"] for each in chosen] == [name for name in fields() if name.startswith("features.")]
    assert list_settings("data.seed") == [each for each in every if each["setting"] == "data.seed"]
    assert {each["kind"] for each in list_settings("method.units")} >= {"bi-lstm"}
    with pytest.raises(JabertError, match="the nearest group is features"):
        list_settings("feature")


@pytest.mark.parametrize("override", ["data.path", "path=x", "=x", "data.=x", ".path=x", ""])
def test_an_override_that_is_none_is_shown_the_form(override):
    with pytest.raises(JabertError, match=r"is not of the form group\.key=value"):
        load_settings(None, [override])


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("training.batch_size=many", "training.batch_size"),
        ("training.batch_size=0", "training.batch_size"),
        ("training.shuffle=perhaps", "training.shuffle"),
        ("data.test_share=1.5", "data.test_share"),
        ("data.test_share=nan", "data.test_share"),
        ("data.labels=京都", "data.labels"),
        ("encoder.max_tokens=2", "encoder.max_tokens"),
        ("training.seed=none", "training.seed"),
        ("tracking.experiment=' '", "tracking.experiment"),
        ("tracking.model_name=''", "tracking.model_name"),
        ("tracking.model_name=a/b", "tracking.model_name"),
        ("tracking.model_name=a:b", "tracking.model_name"),
        ("tracking.model_name=bob's", "tracking.model_name"),
        ("tracking.model_name=a@b", "tracking.model_name"),
        ("tracking.model_name=a?b", "tracking.model_name"),
        ("tracking.model_name=a#b", "tracking.model_name"),
        ("tracking.model_name='a\tb'", "tracking.model_name"),
        ("tracking.model_name=..", "tracking.model_name"),
        ("tracking.model_name=" + "a" * 300, "tracking.model_name"),
        ("tracking.experiment=" + "a" * 300, "tracking.experiment"),
        ("data.max_bytes=0", "data.max_bytes"),
    ],
)
def test_a_value_that_does_not_fit_is_named_in_one_sentence(override, name):
    with pytest.raises(JabertError) as error:
        load_settings(None, [override])
    assert str(error.value).startswith(f"setting {name} cannot be ")
    assert "\n" not in str(error.value)


def test_a_value_nested_deep_is_no_toml():
    with pytest.raises(JabertError, match=r"^setting data\.labels: '\[.*cannot be read as a TOML value: max"):
        load_settings(None, ["data.labels=" + "[" * 9_000])


def test_a_list_is_asked_for_as_it_is_written():
    sentence = r"^setting data\.labels cannot be '京都': it is a list, as \['京都'\]$"
    with pytest.raises(JabertError, match=sentence):
        load_settings(None, ["data.labels=京都"])


def test_a_wrong_literal_is_answered_with_the_nearest():
    with pytest.raises(
        JabertError, match=r"setting data\.split cannot be 'groups': .*; the nearest is 'group'"
    ):
        load_settings(None, ["data.split=groups"])


def test_a_group_that_is_no_table_is_named(tmp_path):
    path = recipe_file(tmp_path, "data = 3\n")
    with pytest.raises(JabertError, match=f"recipe {path}: setting data cannot be 3"):
        load_settings(path, ["data.seed=1"])


def test_a_wrong_value_of_a_recipe_names_the_recipe(tmp_path):
    path = recipe_file(tmp_path, '[training]\nepochs = "ten"\n')
    with pytest.raises(JabertError, match=rf"recipe {path}: setting training\.epochs cannot be 'ten'"):
        load_settings(path)


def test_paths_of_a_recipe_are_relative_to_it_and_those_of_overrides_to_here(tmp_path, monkeypatch):
    path = recipe_file(tmp_path / "recipes", '[data]\npath = "../texts.csv"\n[encoder]\npath = "bert"\n')
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    settings = load_settings(path, ["encoder.path=../other"])
    assert settings.data.path == str(tmp_path / "texts.csv")
    assert settings.encoder.path == str(tmp_path / "other")
    assert settings.features.path == str(here / ".jabert/features")
    assert settings.training.work_path == str(here / ".jabert/work")
    assert settings.tracking.uri == f"sqlite:///{here}/mlruns/mlflow.db"
    assert settings.tracking.artifacts == str(here / "mlruns/artifacts")


def test_a_recipe_named_by_a_relative_path_still_anchors_its_paths(tmp_path):
    recipe_file(tmp_path / "recipes", '[data]\npath = "texts.csv"\n')
    assert load_settings("recipes/mine.toml").data.path == str(tmp_path / "recipes/texts.csv")


def test_a_name_that_does_not_fit_is_refused_with_the_reason():
    with pytest.raises(JabertError) as error:
        load_settings(None, ["tracking.model_name=a/b"])
    assert (
        str(error.value)
        == "setting tracking.model_name cannot be 'a/b': it holds /, which MLflow's URIs of models can't say"
    )


def test_a_relative_database_of_a_recipe_is_relative_to_it_and_that_of_an_override_to_here(
    tmp_path, monkeypatch
):
    path = recipe_file(tmp_path / "recipes", "[tracking]\nuri = 'sqlite:///../runs/x.db'\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert load_settings(path).tracking.uri == f"sqlite:///{tmp_path}/runs/x.db"
    assert load_settings(path).tracking.artifacts == f"{tmp_path}/runs/artifacts"
    tracking = load_settings(path, ["tracking.uri=sqlite:///y.db?timeout=9"]).tracking
    assert (tracking.uri, tracking.artifacts) == (f"sqlite:///{here}/y.db?timeout=9", f"{here}/artifacts")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///z.db")
    tracking = load_settings().tracking
    assert (tracking.uri, tracking.artifacts) == (f"sqlite:///{here}/z.db", f"{here}/artifacts")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///b.db?timeout=9", "b.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://mlflow:5000", None),
        (None, None),
    ],
)
def test_a_local_database_is_a_file(uri, path):
    assert local_database(uri) == (path and Path(path))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/knbc.tar.bz2",
        "s3://bucket/texts.csv",
        "mlflow-artifacts:/x",
        "runs:/1/x",
        "simplecache::s3://bucket/x.csv",
    ],
)
def test_a_url_is_left_as_it_is(url):
    settings = load_settings(None, [f"data.path={url}", f"tracking.artifacts={url}"])
    assert (settings.data.path, settings.tracking.artifacts) == (url, url)


def test_passwords_are_neither_among_the_flat_settings_nor_in_the_written_recipe():
    settings = load_settings(
        None,
        [
            "data.path=https://me:secret@host/x.csv",
            "tracking.uri=postgresql://me:secret@host/x",
            "tracking.artifacts=ftp://me:secret@host/x",
        ],
    )
    assert settings.tracking.uri == "postgresql://me:secret@host/x"
    assert settings.flat()["tracking.uri"] == "postgresql://host/x"
    assert "secret" not in str(settings.flat()) + settings.to_toml()
    assert tomllib.loads(settings.to_toml())["data"]["path"] == "https://host/x.csv"


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert load_settings(None, ["data.path=~/texts.csv"]).data.path == "/home/someone/texts.csv"


def test_a_home_folder_that_nobody_has_is_one_sentence():
    for setting in ("data.path=~nobody-here/x.csv", "validation.suite=~nobody-here/x.json"):
        with pytest.raises(JabertError, match=r"^~nobody-here/x\.\w+: there is no such home folder$"):
            load_settings(None, [setting])
    with pytest.raises(JabertError, match=r"^~nobody-here/x\.toml: there is no such home folder$"):
        load_settings("~nobody-here/x.toml")


def test_overrides_win_over_the_recipe_and_the_last_one_over_the_others():
    settings = load_settings(
        "seed", ["training.patience=2", "training.patience=3", "data.labels=['A', '京都']"]
    )
    assert settings.training.patience == 3
    assert settings.training.batch_size == 128
    assert settings.data.labels == ("A", "京都")


@pytest.mark.parametrize("value", ["", "none"])
def test_an_override_can_unset(value):
    assert load_settings("seed", [f"data.test_rows={value}"]).data.test_rows is None


def test_quotes_keep_a_value_a_string():
    assert load_settings(None, ["data.text_column='none'"]).data.text_column == "none"


def test_an_override_with_broken_quotes_is_named():
    with pytest.raises(JabertError, match=r"setting data\.labels: .* cannot be read as a TOML value"):
        load_settings(None, ["data.labels=['A'"])


def test_the_tracking_store_of_the_environment_is_used_unless_a_setting_names_one(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    settings = load_settings()
    assert settings.tracking.uri == "http://mlflow.example:5000"
    assert settings.tracking.artifacts is None  # the server's own
    assert load_settings(None, ["tracking.uri=sqlite:////tmp/x.db"]).tracking.uri == "sqlite:////tmp/x.db"


def test_a_recipe_that_is_nowhere_is_answered_with_those_there_are():
    with pytest.raises(
        JabertError,
        match=r"recipe 'kbnc' is neither a file .* nor one of: .*knbc, .*sample, seed",
    ):
        load_settings("kbnc")


def test_a_recipe_that_is_no_toml_names_file_and_place(tmp_path):
    path = recipe_file(tmp_path, "[data]\npath = \n")
    with pytest.raises(JabertError, match=rf"recipe {path}: .*line 2"):
        load_settings(path)


def test_a_recipe_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "euc.toml"
    path.write_bytes('note = "京都"\n'.encode("euc_jp"))
    with pytest.raises(JabertError, match=f"recipe {path} is not UTF-8 text"):
        load_settings(path)


@pytest.mark.parametrize("kind", ["bi-lstm", "mean-pooling", "tfidf"])
def test_settings_can_be_sent_to_another_process(kind):
    settings = load_settings("knbc", [f"method.kind={kind}", "data.labels=['A', 'B']"])
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings
    assert type(again) is type(settings)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().data.seed = 1


UNDECISIVE = [
    "data.path=elsewhere.csv",
    "encoder.path=elsewhere",
    "features.path=elsewhere",
    "training.work_path=elsewhere",
    "encoder.device=cpu",
    "tracking.experiment=other",
    "tracking.uri=http://example.org",
    "tracking.model_name=other",
    "serving.max_texts=7",
]


@pytest.mark.parametrize("override", UNDECISIVE)
def test_the_digest_leaves_out_what_does_not_decide_the_result(override):
    assert load_settings("knbc", [override]).digest() == load_settings("knbc").digest()


@pytest.mark.parametrize(
    "override",
    ["data.seed=1", "encoder.pad_to=64", "features.dtype=float32", "method.units=8", "training.seed=1"],
)
def test_the_digest_changes_with_what_decides_the_result(override):
    assert load_settings("knbc", [override]).digest() != load_settings("knbc").digest()


def test_the_digest_is_that_of_the_settings_not_of_the_folder_they_were_read_in(tmp_path, monkeypatch):
    before = load_settings("knbc").digest()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_settings("knbc").digest() == before


def test_every_setting_has_a_flat_name():
    settings = load_settings()
    flat = settings.flat()
    assert sorted(flat) == sorted(fields(type(settings)))
    assert set(fields()) <= set(flat)
    assert flat["training.batch_size"] == 64


# Names of an earlier version


def test_a_setting_of_an_earlier_version_is_accepted_under_its_old_name_and_one_line_says_so(
    tmp_path, caplog
):
    path = recipe_file(tmp_path, "[classifier]\nunits = 8\ndropout = 0.3\n")
    with caplog.at_level("INFO", logger="jabert"):
        settings = load_settings(path)
    assert (settings.method.units, settings.method.dropout) == (8, 0.3)
    assert caplog.messages == [
        f"recipe {path}: classifier.units is called method.units now; "
        "classifier.dropout is called method.dropout now"
    ]
    assert settings == load_settings(None, ["method.units=8", "method.dropout=0.3"]).model_copy(
        update={"recipe": settings.recipe}
    )


def test_an_override_under_an_old_name_wins_over_a_recipe_under_either(tmp_path, caplog):
    for text in ("[classifier]\nunits = 8\n", "[method]\nunits = 8\n"):
        path = recipe_file(tmp_path, text)
        assert load_settings(path, ["classifier.units=9"]).method.units == 9
    caplog.clear()  # elsewhere the flows may have set the level already
    with caplog.at_level("INFO", logger="jabert"):
        load_settings(None, ["classifier.units=9"])
    assert caplog.messages == ["settings: classifier.units is called method.units now"]


def test_present_names_are_taken_without_a_word(caplog):
    with caplog.at_level("INFO", logger="jabert"):
        load_settings("knbc", ["method.units=9"])
    assert caplog.messages == []


def test_a_wrong_value_under_an_old_name_is_named_by_the_present_one():
    with pytest.raises(JabertError, match=r"^setting method\.units cannot be 'many'"):
        load_settings(None, ["classifier.units=many"])


def test_an_old_group_with_a_name_that_never_was_is_refused(tmp_path):
    with pytest.raises(JabertError, match=r"no setting classifier\.unit; the nearest is method\.unit"):
        load_settings(None, ["classifier.unit=8"])
    with pytest.raises(JabertError, match=r"there is no setting classifier\b"):
        load_settings(recipe_file(tmp_path, "[classifier]\nunits = 8\nunitz = 8\n"))


def test_a_kind_that_nobody_knows_is_answered_with_the_nearest():
    with pytest.raises(JabertError, match=r"method\.kind cannot be 'bi-lstn'; the nearest is 'bi-lstm'$"):
        load_settings(None, ["method.kind=bi-lstn"])
    with pytest.raises(JabertError, match=r"^setting method\.kind cannot be 'zzz'; there are: .*bi-lstm"):
        load_settings(None, ["method.kind=zzz"])


# Kinds of method


def test_another_kind_sets_the_settings_of_the_recipe_s_kind_aside_and_one_line_says_so(caplog):
    with caplog.at_level("INFO", logger="jabert"):
        settings = load_settings("sample", ["method.kind=mean-pooling"])
    assert caplog.messages == ["recipe sample: set aside for method.kind 'mean-pooling': units"]
    assert settings.method == load_settings(None, ["method.kind=mean-pooling"]).method
    assert settings.training == load_settings("sample").training, "what all kinds have stays"


def test_settings_of_another_kind_under_old_names_are_set_aside_too(tmp_path, caplog):
    path = recipe_file(tmp_path, "[classifier]\nunits = 8\n")
    with caplog.at_level("INFO", logger="jabert"):
        settings = load_settings(path, ["method.kind=mean-pooling", "classifier.dropout=0.3"])
    assert settings.method == load_settings(None, ["method.kind=mean-pooling"]).method
    (line,) = caplog.messages
    assert line.endswith("set aside for method.kind 'mean-pooling': dropout, units")


def test_the_kind_of_a_recipe_said_again_sets_nothing_aside(caplog):
    with caplog.at_level("INFO", logger="jabert"):
        settings = load_settings("knbc", ["method.kind=bi-lstm"])
    assert caplog.messages == []
    assert settings.method == load_settings("knbc").method


def test_a_setting_of_another_kind_is_refused_by_name():
    with pytest.raises(JabertError, match=r"there is no setting method\.units"):
        load_settings(None, ["method.kind=mean-pooling", "method.units=8"])


words = st.text(max_size=20)
counts = st.integers(1, 10**6)
shares = st.floats(0, 1, exclude_max=True)


@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "text_column": words,
            "group_column": words,
            "labels": st.lists(words, max_size=4).map(tuple),
            "test_share": shares,
            "test_rows": counts,
            "seed": st.integers(0, 2**60),
            "drop_duplicates": st.booleans(),
        },
    ),
    training=st.fixed_dictionaries(
        {}, optional={"epochs": counts, "monitor": st.sampled_from(["val_acc", "val_loss"])}
    ),
    folder=st.text(string.ascii_letters + "京都 ._-'\"\\", min_size=1, max_size=12).filter(
        lambda n: n.strip()
    ),
    note=words,
)
def test_settings_written_as_a_recipe_and_read_again_are_the_same(
    data, training, folder, note, tmp_path_factory
):
    tree = {"data": data, "training": training, "encoder": {"path": f"/bert/{folder}"}, "note": note}
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(Settings.model_validate(tree).to_toml(), encoding="utf-8")
    first = load_settings(path)
    path.write_text(first.to_toml(), encoding="utf-8")
    again = load_settings(path)
    assert again == first
    assert again.digest() == first.digest()
    for name, value in data.items():
        assert getattr(again.data, name) == value
    assert again.note == note


def test_the_written_recipe_repeats_the_run_from_another_folder(tmp_path, monkeypatch):
    first = load_settings("seed", ["data.path=texts.csv", "encoder.path=bert"])
    recipe = tmp_path / "elsewhere/config.toml"
    recipe.parent.mkdir()
    recipe.write_text(first.to_toml(), encoding="utf-8")
    monkeypatch.chdir(recipe.parent)
    again = load_settings(recipe)
    assert again.model_dump(exclude={"recipe"}) == first.model_dump(exclude={"recipe"})
    assert Path(again.data.path).parent == tmp_path
