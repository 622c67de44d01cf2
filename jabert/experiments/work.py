"""The folder of an unfinished run: what one stage hands to the next, and what a killed run left."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jabert.encoder import TokenIds, TokenizedTexts
from jabert.errors import JabertError
from jabert.features import row_keys
from jabert.files import atomic_path, exclusive, write_text
from jabert.methods.bi_lstm import LabelledRows

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """A folder named by what is worked on: the same settings, data and encoder find it again."""

    path: Path

    @property
    def training(self) -> Path:
        """Checkpoints and logs of the training."""
        return self.path / "training"

    @property
    def package(self) -> Path:
        """The model package that was built last."""
        return self.path / "package"

    @property
    def logged(self) -> Path:
        """Which model was logged last: the URI, as JSON."""
        return self.path / "logged.json"

    @property
    def learned_from(self) -> Path:
        """Digests of the rows that are learned from."""
        return self.path / "learned_from.json"

    @property
    def writer(self) -> Path:
        """The run that writes the encoder of a pretraining, noted before it does."""
        return self.path / "writer"

    def validation(self, suite: str) -> Path:
        """Report of a suite of expectations."""
        return self.path / "validation" / suite

    def stage_table(self, table: pd.DataFrame) -> Path:
        """Write the split table of texts beside the folder, where another run may be at work."""
        staged = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}.parquet")
        with atomic_path(staged) as temporary:
            table.to_parquet(temporary)
        return staged

    @contextmanager
    def exclusive(self, staged: Path | None = None) -> Iterator[None]:
        """Wait until no other process works here, and begin with the staged table, if there is one."""
        waiting = "another run works on the same data with the same settings; waiting for it to end"
        try:
            with exclusive(self.path.with_suffix(".lock"), waiting):
                self.path.mkdir(parents=True, exist_ok=True)
                if staged:
                    staged.replace(self.path / "table.parquet")
                yield
        finally:  # whoever stops waiting leaves no copy
            if staged:
                staged.unlink(missing_ok=True)

    def read_table(self) -> pd.DataFrame:
        """The split table of texts: columns text, label, group (if there are groups), split, file, line."""
        return pd.read_parquet(self.path / "table.parquet")

    def write_tokens(self, tokens: TokenizedTexts) -> None:
        """Keep the token ids, a row a text in the order of the table."""
        columns = {
            "ids": pa.LargeListArray.from_arrays(tokens.ids.offsets, pa.array(tokens.ids.flat)),
            "pieces": tokens.pieces,
            "unknown": tokens.unknown,
            "truncated": tokens.truncated,
        }
        with atomic_path(self.path / "tokens.parquet") as temporary:
            pq.write_table(pa.table(columns), temporary)

    def read_tokens(self) -> TokenizedTexts:
        """The token ids as they were written."""
        table = pq.read_table(self.path / "tokens.parquet").combine_chunks()
        column = table["ids"].combine_chunks()
        ids = TokenIds(column.values.to_numpy(), column.offsets.to_numpy())
        pieces, unknown, truncated = (table[name].to_numpy() for name in ("pieces", "unknown", "truncated"))
        return TokenizedTexts(ids, pieces, unknown, truncated)

    def labels(self) -> list[str]:
        """The label encoder: class names in the order of their index, those of the training rows."""
        table = self.read_table()
        return sorted(table.loc[table["split"] == "train", "label"].dropna().unique())

    def labelled_rows(self) -> dict[str, LabelledRows]:
        """The rows of `train`, `validation` and `test`, for training from the feature store.

        Raises:
            JabertError: a row has a label that no training row has; a suite of one's own may let it pass.
        """
        table, ids = self.read_table(), self.read_tokens().ids
        index = {label: i for i, label in enumerate(self.labels())}
        unknown = table[~table["label"].isin(list(index))]
        if len(unknown):
            row = unknown.iloc[0]
            raise JabertError(
                f"{row['file']} line {row['line']}: no training row has the label {row['label']!r}"
            )
        classes = np.array([index[label] for label in table["label"]], dtype=np.int32)
        keys, lengths = row_keys(ids), ids.lengths
        return {
            side: LabelledRows(keys[chosen], lengths[chosen], classes[chosen])
            for side in ("train", "validation", "test")
            for chosen in [np.flatnonzero(table["split"] == side)]
        }

    def take_over(self, run_id: str) -> str | None:
        """Note who works here now; returns the run that did before and did not finish."""
        note = self.path / "run_id"
        before = note.read_text(encoding="utf-8") if note.exists() else None
        write_text(note, run_id)
        return before

    def remove(self) -> None:
        """The run is finished: nothing of it is needed here any more."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_unless_taken(self) -> None:
        """Remove what was made on the way, but not the work of a run that did not finish."""
        if not (self.path / "run_id").exists():
            self.remove()
