"""What the command line prints of strangers' texts and of secrets."""

import json

import pytest
from secret_urls import SECRET

from jabert.cli import main
from jabert.cli.output import print_diff, print_json, print_listing, print_pairs, say
from jabert.registry.diff import CommonRows, Diff, Disagreement
from jabert.safe import has_controls

HOSTILE = "\x1b]52;c;ZXZpbA==\x07京都\u202e\x9b31m"
SHOWN = r"\x1b]52;c;ZXZpbA==\x07京都\u202e\u009b31m"


def ended(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


@pytest.mark.parametrize(
    "words",
    [
        ("runs", f"https://me:{SECRET}@host/x"),
        ("runs", "--limit", f"https://me:{SECRET}@host/x"),
        (f"https://{SECRET}@host/x",),
        ("runs", f"--https://{SECRET}@host/x"),
        ("models", "rollback", "\x1b]52;c;\x07", "\x1b[31m"),
    ],
)
def test_wrong_usage_is_told_without_secrets_and_controls(capsys, words):
    code, out, err = ended(capsys, *words)
    assert (code, out) == (2, "")
    assert "Usage: " in err and "Error: " in err
    assert SECRET not in err and not has_controls(err)


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "--set", f"https://me:a b{SECRET}@host/x"),
        ("runs", "--set", f"tracking.uri=ftp://me:{SECRET}@host/x"),
        ("runs", "--set", f"data.seed=https://{SECRET}@host/x?sig={SECRET}"),
        ("runs", "--recipe", f"https://me:{SECRET}@host/x.toml?{SECRET}"),
        ("score", f"https://me:{SECRET}@host/x.csv", f"https://me:{SECRET}@host/y.csv"),
        ("runs", "--set", "tracking.uri=\x1b]52;c;\x07"),
        ("--debug", "score", f"https://me:{SECRET}@host/x.csv", f"ftp://{SECRET}@host/y.csv"),
    ],
)
def test_an_error_is_told_without_secrets_and_controls(capsys, words):
    code, out, err = ended(capsys, *words)
    assert (code, out) == (1, "")
    assert SECRET not in err and not has_controls(err)
    assert ("Traceback" in err) == (words[0] == "--debug")


def test_the_traceback_of_an_error_that_nobody_expected_has_no_secret(capsys, monkeypatch):
    def fail(*_):
        raise LookupError(f"404 for https://me:{SECRET}@host/x.csv \x1b[2J")

    monkeypatch.setattr("jabert.config.load_settings", fail)
    code, _, err = ended(capsys, "runs")
    assert code == 1 and SECRET not in err and not has_controls(err)
    assert "Traceback" in err and r"LookupError: 404 for https://host/x.csv \x1b[2J" in err


def test_nothing_that_is_listed_is_obeyed(capsys):
    print_listing(
        [{HOSTILE: HOSTILE, "text": [HOSTILE], "probabilities": {HOSTILE: 0.5}}], (HOSTILE, "text"), ""
    )
    print_listing([], (), HOSTILE)
    print_pairs({HOSTILE: HOSTILE, "more": {HOSTILE: HOSTILE}})
    say(HOSTILE)
    say(HOSTILE, error=True)
    pair = {HOSTILE: (HOSTILE, HOSTILE)}
    text = Disagreement(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    print_diff(Diff("1", "2", pair, pair, pair, CommonRows(1, (0.1, 0.2), (text,), (text,)), None))
    print_diff(Diff("1", "2", pair, pair, pair, None, HOSTILE))
    said = capsys.readouterr()
    assert not has_controls(said.out + said.err)
    assert said.err.strip() == SHOWN and said.out.count(SHOWN) >= 20


def test_json_is_exact_data_and_obeyed_by_no_terminal(capsys):
    print_json({HOSTILE: [HOSTILE]})
    out = capsys.readouterr().out
    assert json.loads(out) == {HOSTILE: [HOSTILE]}
    assert not has_controls(out) and "京都" in out
