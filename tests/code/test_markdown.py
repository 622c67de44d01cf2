"""Tables in Markdown."""

import re

from hypothesis import given
from hypothesis import strategies as st

from jabert.markdown import table


def test_a_table():
    rows = [("京都", 0.12345, 12, None), ("expect_column", "__x__", "", "a|b\n\x00c")]
    assert table(["label", "f1", "rows", "rest"], rows).splitlines() == [
        "| label | f1 | rows | rest |",
        "| --- | --- | --- | --- |",
        "| 京都 | 0.123 | 12 |  |",
        r"| expect_column | \_\_x\_\_ |  | a\|b \\x00c |",
    ]


def test_long_texts_are_cut_where_that_is_wished():
    long = "長" * 100
    assert table([""], [(long,)]).splitlines()[-1] == f"| {'長' * 79}… |"
    assert table([""], [(long,)], longest=None).splitlines()[-1] == f"| {long} |"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_no_text_breaks_a_table(rows):
    lines = table(["a", "b"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)
    assert all(len(line.splitlines()) == 1 for line in lines)
