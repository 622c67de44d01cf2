"""How `digests.json` was made: digests of settings, and names of work folders, as jabert 0.1 computed them.

Run it with the code of jabert 0.1, as `make_fixture.py` says. By these digests a retraining finds that
nothing is new, and a killed one its work. Data and encoder come with jabert, so that no path counts.
"""

import json
import sys
from pathlib import Path

from jabert.stages.retraining import _attempt

from jabert.config import load_settings
from jabert.dataset import read_corpus, table_digest
from jabert.encoder import open_folder

PACKAGED = ["data.path=sample", "encoder.path=jabert-mini"]
CASES = [
    ("", []),
    ("", PACKAGED),
    ("sample", []),
    ("knbc", []),
    ("knbc", [*PACKAGED, "data.format=table"]),
    ("seed", []),
    ("seed", PACKAGED),
    ("jabert-mini", []),
    ("sample", ["classifier.units=64"]),
    ("sample", ["promotion.min_gain=0.01"]),
    ("sample", ["promotion.require_significance=true", "package.max_texts=500"]),
    ("sample", ["training.watch=test", "training.monitor=val_loss"]),
    ("sample", ["encoder.max_tokens=32", "encoder.precision=float32", "features.dtype=float32"]),
    ("sample", ['data.labels=["グルメ", "スポーツ", "京都", "携帯電話"]']),
    ("sample", ["data.split=sentence", "data.seed=7", "data.validation_share=0.1"]),
    (
        "sample",
        [
            "encoder.device=cpu",
            "serving.max_texts=8",
            "tracking.model_name=other",
            "training.work_path=elsewhere",
        ],
    ),
]


def main(out: Path) -> None:
    """Write the file."""
    entries = [digests(recipe, overrides) for recipe, overrides in CASES]
    out.write_text(json.dumps(entries, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def digests(recipe: str, overrides: list[str]) -> dict[str, object]:
    """Of one combination; `attempt` and `data_digest` only where both data and encoder are there."""
    settings = load_settings(recipe, overrides)
    entry: dict[str, object] = {"recipe": recipe, "overrides": overrides, "digest": settings.digest()}
    if settings.data.path and settings.encoder.path:
        folder, data_digest = (
            open_folder(settings.encoder.path),
            table_digest(read_corpus(settings.data).table),
        )
        entry["attempt"] = _attempt(settings, data_digest, folder)
        entry["data_digest"] = data_digest
        entry["encoder_fingerprint"] = folder.fingerprint
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
