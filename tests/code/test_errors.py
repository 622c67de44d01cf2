"""The error for the user, and redaction of passwords."""

import pickle

import pytest

from jabert.errors import JabertError, reason_of, redacted


@pytest.mark.parametrize(
    "password", ["secret", "p@ss", "sl/ash", "12345", "a:b", "a?b#c", "%41"], ids=lambda word: word
)
@pytest.mark.parametrize(
    "form",
    ["http://me:{}@host:5000/x", "postgresql://me:{}@[::1]:5432/x", "zip://a.csv::https://:{}@host/b.zip"],
)
def test_a_password_is_redacted(form, password):
    assert redacted(form.format(password)) == form.format("***")
    sentence = "the store '{}' is away, as is http://other:80"
    assert redacted(sentence.format(form.format(password))) == sentence.format(form.format("***"))


@pytest.mark.parametrize(
    "url",
    [
        "http://host:5000/me@x",
        "http://[::1]:5000/me@x",
        "https://me@host/x",
        "zip://a.csv::https://host/me@x",
        "sqlite:////a:b@c/x.db",
        "/data/a:b@c",
    ],
)
def test_what_is_no_password_is_left(url):
    assert redacted(url) == url


def test_an_error_says_no_password_wherever_it_is_shown():
    error = JabertError("http://me:secret@host/x.csv could not be read")
    for shown in (str(error), repr(error), str(pickle.loads(pickle.dumps(error)))):
        assert "http://me:***@host/x.csv could not be read" in shown


def test_a_reason_is_one_short_line_without_a_password():
    error = OSError("no answer\n  from http://me:secret@host/" + "x" * 300)
    assert reason_of(error).startswith("no answer from http://me:***@host/x")
    assert (len(reason_of(error)), len(reason_of(error, 20))) == (200, 20)
