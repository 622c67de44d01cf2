"""What of a URL is kept, and what is shown."""

import json
import operator
import pickle
import re
from copy import deepcopy
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_urls import SECRET, secret_urls

from jabert.config import Url, fields, load_settings, recordable, revealed
from jabert.config.settings import about, settings_with_method
from jabert.dataset.sources import read_bytes
from jabert.errors import JabertError, reason_of
from jabert.experiments.parallel import local_processes
from jabert.logs import shown
from jabert.redaction import errors_redacted, redacted, shown_form

LOCATIONS = [name for name, field in fields(settings_with_method("word2vec")).items() if about(field, "kind")]


@pytest.mark.parametrize("url", secret_urls("host.example"))
def test_of_a_url_only_scheme_host_and_path_are_shown(url):
    scheme = url.partition("://")[0].lower()
    place = {"s3": "bucket", "abfss": "container@account.dfs.core.windows.net"}.get(scheme, "host.example")
    if url.startswith("postgresql:///"):
        place = ""
    found = Url(url)
    assert str(found).lower().partition("://")[0] == scheme
    assert str(found).partition("://")[2].replace(":5432", "").replace(":3306", "") == f"{place}/x.csv"
    assert revealed(found) == url
    assert Url(found) is not None and revealed(Url(found)) == url
    assert shown_form(str(found)) == str(found)
    for written in (str(found), repr(found), f"{found}", json.dumps([found]), str((found,))):
        assert SECRET not in written
    assert SECRET.encode() not in pickle.dumps(found)
    assert found == url and found != str(found) and deepcopy(found) == found


@pytest.mark.parametrize("url", secret_urls())
def test_no_setting_records_a_secret(url):
    for name in LOCATIONS:
        try:
            settings = load_settings(None, ["method.kind=word2vec", f"{name}={json.dumps(url)}"])
        except JabertError as error:
            assert SECRET not in str(error)
            continue
        group, key = name.split(".")
        value = getattr(getattr(settings, group), key)
        assert revealed(value[0] if isinstance(value, tuple) else value) == url
        records = (settings.to_toml(), str(settings.flat()), settings.model_dump_json(), repr(settings))
        assert not [each for each in records if SECRET in each], name
        assert SECRET.encode() not in pickle.dumps(settings)
        again = type(settings).model_validate(settings.model_dump())
        assert again == settings and SECRET not in again.to_toml()
    assert SECRET not in recordable(f"data.path={json.dumps(url)}")
    assert SECRET not in recordable(f"data.path={url}") + recordable(f"corpus.paths={json.dumps([url])}")


@pytest.mark.parametrize("url", secret_urls())
def test_no_message_has_a_secret_however_a_library_writes_it(url):
    Url(url)
    found = re.search(rf"[^\s/?#@:;=&]*{SECRET}[^\s/?#@:;=&]*", url)
    assert found
    piece = found[0]  # what is left of it for a library that takes the URL apart at another sign
    whole = (url, repr(url), json.dumps(url), url.upper(), url.replace("://", ":"))
    for written in (*whole, piece, unquote(piece)):
        assert SECRET.lower() not in redacted(f"<no answer from {written}>").lower()
        assert SECRET.lower() not in reason_of(OSError(written)).lower()
    for error in (OSError(url), OSError(2, "no such file", url), KeyError(url), ValueError("x", url)):
        with pytest.raises(type(error)) as raised, errors_redacted():
            raise error
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "password", ["secret", "p@ss", "sl/ash", "12345", "a:b", "a?b#c", "%41"], ids=lambda word: word
)
@pytest.mark.parametrize(
    "form",
    ["http://me:{}@host:5000/x", "postgresql://me:{}@[::1]:5432/x", "zip://a.csv::https://:{}@host/b.zip"],
)
def test_a_url_that_nobody_gave_is_shortened_wherever_it_stands(form, password):
    sentence = "the store '{}' is away, as is http://other:80; see https://page.example/#part (or not)."
    plain = form.replace("me:{}@", "").replace(":{}@", "")
    assert redacted(sentence.format(form.format(password))) == sentence.format(plain)


def test_an_error_that_makes_its_text_anew_is_replaced():
    class LibraryError(Exception):
        def __str__(self):
            return "404 for https://me:s3cr3t0Zw8Kq@host/x.csv"

    with (
        pytest.raises(RuntimeError, match=r"LibraryError: 404 for https://host/x\.csv") as raised,
        errors_redacted(),
    ):
        raise LibraryError
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x.csv",
        "http://localhost:8080/@me/x.csv",
        "http://127.0.0.1:5000/a@b/x.csv",
        "https://cdn.example/npm/pkg@1.0/x.csv",
        "http://[::1]:5000/me@x",
        "s3://bucket/a@b.csv",
        "gs://bucket/x/*.parquet",
        "sqlite:////data/a:b@c/mlflow.db",
        "abfss://container@account.dfs.core.windows.net/x",
        "memory://data/a@b.csv",
        "zip://a.csv::https://host/b.zip",
        "runs:/0123/encoder",
        "postgresql://host:5432/mlflow",
    ],
)
def test_a_url_without_a_secret_is_shown_as_it_is(url):
    assert str(Url(url)) == redacted(url) == url


@given(st.text(alphabet="ab:/@?#%&=.;[]-1 ", max_size=30))
def test_what_is_shown_is_shown_again_as_it_is(rest):
    for scheme in ("https://", "s3://", "sqlite:///", "zip://a::ftp://"):
        once = shown_form(scheme + rest)
        assert shown_form(once) == once


def test_a_cache_that_would_note_a_secret_is_refused():
    assert str(Url("filecache::https://host/x.csv")) == "filecache::https://host/x.csv"
    for cache in ("filecache", "blockcache"):
        with pytest.raises(JabertError, match=f"has a secret, which {cache} would note in a file") as error:
            load_settings(None, [f"data.path={cache}::https://host/x.csv?sig={SECRET}"])
        assert SECRET not in str(error.value)


def test_bytes_that_are_no_text_are_no_trouble():
    assert "\udc80" not in redacted(f"<{Url('https://me:' + chr(0xDC80) + SECRET + '@host/x.csv')}>")
    assert SECRET not in redacted(f"no {chr(0xDC80)}{SECRET}")


def test_two_urls_are_one_only_if_their_secrets_are():
    urls = [Url("https://host/get?file=first.csv"), Url("https://host/get?file=other.csv")]
    assert len(dict.fromkeys(urls)) == 2
    assert [*map(str, urls)] == ["https://host/get"] * 2


def test_the_environment_has_the_secret_of_a_url_that_is_named_without(monkeypatch):
    whole = f"https://me:{SECRET}@host/x.csv"
    monkeypatch.setenv("JABERT_URLS", f"https://host/other.csv?a={SECRET}\n {whole} https://host/y.csv?sig=1")
    for given_as in ("https://host/x.csv", "https://me:***@host/x.csv"):  # the last as 0.1 recorded it
        settings = load_settings(None, [f"data.path={given_as}"])
        assert revealed(settings.data.path) == whole
        assert "https://host/x.csv" in settings.to_toml() and SECRET not in settings.to_toml()
    assert revealed(Url("https://host/z.csv")) == "https://host/z.csv"
    assert revealed(Url("https://host/x.csv?own=token")) == "https://host/x.csv?own=token"
    monkeypatch.setenv("JABERT_URLS", "https://host/x.csv?a=123456 https://host/x.csv?a=654321")
    with pytest.raises(
        JabertError, match=r"JABERT_URLS has several URLs that are shown as https://host/x\.csv"
    ):
        Url("https://host/x.csv")


def test_a_logged_recipe_repeats_the_run_with_the_secret_of_the_environment(tmp_path, monkeypatch):
    first = load_settings(None, [f"data.path=https://host/x.csv?sig={SECRET}"])
    (tmp_path / "config.toml").write_text(first.to_toml(), encoding="utf-8")
    monkeypatch.setenv("JABERT_URLS", f"https://host/x.csv?sig={SECRET}")
    again = load_settings(tmp_path / "config.toml")
    assert revealed(again.data.path) == revealed(first.data.path)
    assert again.digest() == first.digest()


def test_a_file_at_a_url_is_read_with_its_secret():
    import fsspec

    url = f"memory://me:{SECRET}@data/t.csv"
    with fsspec.open(url, "wb") as file:
        file.write(b"text,label\n")
    assert read_bytes(Url(url)) == b"text,label\n"
    with pytest.raises(JabertError) as error:
        read_bytes(Url(url.replace("t.csv", "u.csv")))
    assert SECRET not in str(error.value)


def test_a_process_of_one_s_own_is_told_the_whole_of_a_url_but_tells_nobody(capfd):
    import logging

    url = f"postgresql://me:{SECRET}@host/trials"
    settings = load_settings(None, [f"sweep.storage={url}"])
    with local_processes(2) as submit:
        told = submit(operator.attrgetter("sweep.storage"), settings)()
        assert submit(revealed, settings.sweep.storage)() == revealed(told) == url
        submit(logging.getLogger("anyone").warning, "no answer from %s", url)()
    said = capfd.readouterr().err
    assert "no answer from postgresql://host/trials" in said and SECRET not in said


def test_what_a_terminal_would_obey_is_in_no_log(caplog):
    import logging

    from jabert.logs import make_logs_safe

    made = logging.getLogRecordFactory()
    try:
        make_logs_safe()
        logging.getLogger("anyone").warning("label %s of %s", "a\x1b[31m", Url(f"https://{SECRET}@host/x"))
        logging.getLogger("anyone").warning(f"GET https://{SECRET}@host/x")
        try:
            raise OSError(f"https://me:{SECRET}@host/x\x1b]52;c;\x07")
        except OSError:
            logging.getLogger("anyone").exception("failed")
    finally:
        logging.setLogRecordFactory(made)
    assert SECRET not in caplog.text and "\x1b" not in caplog.text
    assert r"label a\x1b[31m of https://host/x" in caplog.text
    assert shown("\x1b") == r"\x1b"
