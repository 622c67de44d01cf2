"""Labelled texts: read from folders, archives, tables and URLs, cleaned and split."""

from jabert.dataset.corpus import Corpus, class_shares, read_corpus, row_digests, same_texts, table_digest
from jabert.dataset.knbc import import_knbc
from jabert.dataset.readers import content_digest, read_rows

__all__ = [
    "Corpus",
    "class_shares",
    "content_digest",
    "import_knbc",
    "read_corpus",
    "read_rows",
    "row_digests",
    "same_texts",
    "table_digest",
]
