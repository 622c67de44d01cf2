"""An epoch of jabert's fine-tuning: `python finetune_own.py ROWS.npz ENCODER`."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from protocol import open_answers, peak_bytes, send

from jabert.config import load_settings
from jabert.encoder import TokenIds, open_folder
from jabert.methods import Job
from jabert.methods.finetune.training import new_learner
from jabert.training.batches import shuffled_buckets

WARM_UP = 3  # steps


def main() -> None:
    answers = open_answers()
    with np.load(sys.argv[1]) as arrays:
        offsets = np.cumsum([0, *arrays["lengths"]], dtype=np.int64)
        ids, classes = TokenIds(arrays["ids"], offsets), arrays["classes"]
    settings = load_settings("finetune", [f"encoder.path={sys.argv[2]}"])
    with TemporaryDirectory() as folder:
        labels = [str(number) for number in range(classes.max() + 1)]
        job = Job(settings, labels, open_folder(sys.argv[2]), Path(folder))
        learner = new_learner(job, settings.method.dropout, steps=1000)
        texts = learner.texts(ids, Path(folder) / "frozen")
        batches = list(shuffled_buckets(ids.lengths, settings.method.batch_size, [0]))
        for number, batch in enumerate(batches[:WARM_UP] + batches):
            if number == WARM_UP:
                started = time.perf_counter()
            learner.learn(texts, batch, np.eye(len(labels), dtype=np.float32)[classes[batch]])
    send(answers, {"seconds": round(time.perf_counter() - started, 2), "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    main()
