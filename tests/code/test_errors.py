"""The error for the user."""

import pickle

from jabert.errors import JabertError, reason_of


def test_an_error_says_no_password_wherever_it_is_shown():
    error = JabertError("http://me:secret@host/x.csv could not be read")
    for shown in (str(error), repr(error), str(pickle.loads(pickle.dumps(error)))):
        assert "http://host/x.csv could not be read" in shown


def test_a_reason_is_one_short_line_without_a_password():
    error = OSError("no answer\n  from http://me:secret@host/" + "x" * 300)
    assert reason_of(error).startswith("no answer from http://host/x")
    assert (len(reason_of(error)), len(reason_of(error, 20))) == (200, 20)
