"""The bundled sample corpus: what its README promises, natural variety, and nobody else's sentences."""

import csv
import re
import statistics
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import jabert
from jabert.config import DataSettings
from jabert.dataset import read_corpus, read_rows

FOLDER = Path(jabert.__file__).parent / "dataset/sample"
FILE = FOLDER / "sample.csv"
LABELS = {"gourmet": "グルメ", "phone": "携帯電話", "kyoto": "京都", "sports": "スポーツ"}
CONTROL = ("Cc", "Co", "Cs")  # control characters, private use, half surrogate pairs
ADDRESS = re.compile(r"https?:|www\.|\S@\S|0\d{1,3}[-‐]\d{2,4}[-‐]\d{4}")  # URL, mail, telephone
SAME = 15  # characters in a row that no two sentences share
NEAR = 12  # the same, of a sentence here and one of KNBC


@pytest.fixture(scope="module")
def records():
    with FILE.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


@pytest.fixture(scope="module")
def texts(records):
    return [record["text"] for record in records]


def posts_of(records) -> dict[str, list[str]]:
    posts = defaultdict(list)
    for record in records:
        posts[record["group"]].append(record["text"])
    return posts


def stretches(text: str, length: int) -> set[str]:
    """Every run of that many characters in the text."""
    return {text[start : start + length] for start in range(len(text) - length + 1)}


def plain(text: str) -> str:
    """Without what hides that two sentences are one: width, case, blanks, punctuation at the ends."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).casefold().strip("。．.、!?…~「」()")


def test_the_file_is_plain_utf_8_with_unix_line_ends():
    data = FILE.read_bytes()
    text = data.decode("utf-8")
    assert text.startswith("text,label,group\n")
    assert data.endswith(b"\n")
    assert not data.startswith(b"\xef\xbb\xbf")
    assert {character for character in text if unicodedata.category(character) in CONTROL} == {"\n"}
    assert "\n\n" not in text
    assert "\ufffd" not in text


def test_it_is_large_enough(records):
    assert len(records) >= 560
    assert len(posts_of(records)) >= 72
    for label in LABELS.values():
        posts = {record["group"] for record in records if record["label"] == label}
        assert len(posts) >= 18, label


def test_a_post_is_named_after_its_topic_and_stands_together(records):
    for record in records:
        topic, number = record["group"].split("-")
        assert LABELS[topic] == record["label"], record
        assert re.fullmatch(r"\d\d", number), record
    changes = [record["group"] for record in records]
    starts = [group for before, group in zip(["", *changes], changes, strict=False) if group != before]
    assert len(starts) == len(set(starts))
    assert [group.split("-")[0] for group in starts] != sorted(group.split("-")[0] for group in starts)


def test_posts_are_of_uneven_length(records):
    lengths = [len(sentences) for sentences in posts_of(records).values()]
    assert min(lengths) >= 5
    assert max(lengths) <= 12
    assert len(set(lengths)) >= 6


def test_no_text_is_blank_or_has_blanks_around_it(texts):
    assert all(texts)
    assert [text for text in texts if text != text.strip()] == []


def test_no_sentence_stands_twice(texts):
    assert [text for text, count in Counter(map(plain, texts)).items() if count > 1] == []


def test_no_two_sentences_are_nearly_the_same(texts):
    found = Counter(stretch for text in texts for stretch in stretches(text, SAME))
    assert [stretch for stretch, count in found.items() if count > 1] == []


def test_sentences_do_not_all_begin_or_end_alike(texts):
    for part in ([text[:3] for text in texts], [text[-5:] for text in texts]):
        ((most, count),) = Counter(part).most_common(1)
        assert count < len(texts) / 20, most


def test_lengths_spread(texts):
    lengths = [len(text) for text in texts]
    assert min(lengths) <= 4
    assert max(lengths) >= 80
    assert sum(length <= 8 for length in lengths) >= 30
    assert sum(length >= 60 for length in lengths) >= 15
    assert statistics.stdev(lengths) >= 12


@pytest.mark.parametrize(
    ("what", "pattern", "at_least"),
    [
        ("full-width digits", "[０-９]", 40),
        ("half-width digits", "[0-9]", 40),
        ("full-width Latin letters", "[Ａ-Ｚａ-ｚ]", 8),
        ("half-width Latin letters", "[A-Za-z]", 20),
        ("half-width kana", "[ｦ-ﾟ]", 4),
        ("emoji", "[✨🌀-🫿]", 5),
        ("kaomoji", r"\([*^;；\-]|\(；|o\(", 3),
        ("no full stop at the end", r"[^。．！？!?…♪〜]\Z", 20),
    ],
)
def test_writing_varies(texts, what, pattern, at_least):
    assert sum(bool(re.search(pattern, text)) for text in texts) >= at_least, what


def test_there_are_no_addresses(texts):
    assert [text for text in texts if ADDRESS.search(text)] == []


def test_labels_and_groups_are_read_as_those_of_any_table(records):
    settings = DataSettings(path=str(FILE))
    rows = read_rows(settings)
    assert rows[["text", "label", "group"]].to_dict("records") == records
    assert set(rows["label"]) == set(LABELS.values())


def test_nothing_is_removed_when_it_is_cleaned(records):
    assert len(read_corpus(DataSettings(path=str(FILE))).table) == len(records)


def test_the_readme_counts_what_the_file_holds(records, texts):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    counted = {
        label: (int(posts), int(sentences))
        for label, posts, sentences in re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \|$", readme, re.MULTILINE)
    }
    true = {
        label: (
            len({record["group"] for record in records if record["label"] == label}),
            sum(record["label"] == label for record in records),
        )
        for label in LABELS.values()
    }
    posts = posts_of(records)
    assert counted == true | {"all": (len(posts), len(records))}
    assert f"{len(records)} Japanese sentences in {len(posts)} short posts" in readme
    lengths, sizes = list(map(len, texts)), list(map(len, posts.values()))
    assert f"A post has {min(sizes)} to {max(sizes)} sentences" in readme
    assert f"a sentence {min(lengths)} to {max(lengths)} characters" in readme
    assert f"half of them up to {int(statistics.median(lengths))}." in readme


@pytest.mark.shared
def test_no_sentence_of_knbc_is_in_it(texts, shared):
    rows = read_rows(DataSettings(path=str(shared / "data/knbc"), format="knbc"))
    knbc = set(map(plain, rows["text"]))
    known = {stretch for text in knbc for stretch in stretches(text, NEAR)}
    assert [text for text in texts if plain(text) in knbc] == []
    assert [text for text in texts if stretches(plain(text), NEAR) & known] == []
