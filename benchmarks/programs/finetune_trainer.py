"""An epoch of Hugging Face's Trainer on a CPU: `python finetune_trainer.py ROWS.npz ENCODER`.

The model has the sizes of the encoder and random weights, which change nothing in its speed.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from protocol import open_answers, peak_bytes, send
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

WARM_UP = 3  # steps


class Rows(torch.utils.data.Dataset):
    """The rows of the file."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.texts = np.split(arrays["ids"].astype(np.int64), np.cumsum(arrays["lengths"])[:-1])
            self.classes = arrays["classes"]

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return {"input_ids": self.texts[i], "labels": int(self.classes[i]), "length": len(self.texts[i])}


def collate(rows):
    """Pad on the right to the longest row of the batch."""
    lengths = torch.tensor([row["length"] for row in rows])
    width = int(lengths.max())
    ids = np.stack([np.pad(row["input_ids"], (0, width - row["length"])) for row in rows])
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }


class Clock(TrainerCallback):
    """Measures the time after the warm-up."""

    def on_step_end(self, args, state, control, **kwargs):  # noqa: ARG002
        """Start the clock when the warm-up is over."""
        if state.global_step == WARM_UP:
            self.started = time.perf_counter()

    def on_train_end(self, args, state, control, **kwargs):  # noqa: ARG002
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.started
        self.share = (state.global_step - WARM_UP) / state.global_step


def main():
    answers, rows = open_answers(), Rows(sys.argv[1])
    sizes = json.loads((Path(sys.argv[2]) / "bert_config.json").read_text(encoding="utf-8"))
    config = BertConfig(**sizes, num_labels=int(rows.classes.max()) + 1)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            per_device_train_batch_size=32,
            num_train_epochs=1,
            train_sampling_strategy="group_by_length",
            learning_rate=5e-5,
            weight_decay=0.01,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        model = BertForSequenceClassification(config)
        trainer = Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock]
        )
        trainer.train()
    send(answers, {"seconds": round(clock.seconds / clock.share, 2), "peak_bytes": peak_bytes()})


if __name__ == "__main__":
    main()
