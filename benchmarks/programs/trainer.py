"""Pretraining with Hugging Face's Trainer on a CPU: `python trainer.py EXAMPLES.npz GROUPED PRECISION SIZES`.

The answer has the pieces (tokens without padding) per second of one epoch after a few warm-up steps.
"""

import json
import sys
import tempfile
import time

import numpy as np
import torch
from protocol import open_answers, send
from transformers import BertConfig, BertForPreTraining, Trainer, TrainerCallback, TrainingArguments

BUDGET = 4096  # tokens of a batch, as for jabert
WARM_UP = 3  # steps


class Examples(torch.utils.data.Dataset):
    """The rows of the file without their padding."""

    def __init__(self, path):
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name].astype(np.int64) for name in arrays.files}

    def __len__(self):
        return len(self.arrays["lengths"])

    def __getitem__(self, i):
        length = int(self.arrays["lengths"][i])
        return {
            "input_ids": self.arrays["ids"][i, :length],
            "token_type_ids": self.arrays["segments"][i, :length],
            "labels": self.arrays["labels"][i, :length],
            "next_sentence_label": self.arrays["random_next"][i],
            "length": length,
        }


def collate(examples):
    """Pad on the right to the longest example of the batch."""
    width = max(example["length"] for example in examples)

    def padded(name, fill):
        rows = [
            np.pad(example[name], (0, width - example["length"]), constant_values=fill)
            for example in examples
        ]
        return torch.from_numpy(np.stack(rows))

    lengths = torch.tensor([example["length"] for example in examples])
    return {
        "input_ids": padded("input_ids", 3),
        "token_type_ids": padded("token_type_ids", 0),
        "labels": padded("labels", -100),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
        "next_sentence_label": torch.tensor([int(example["next_sentence_label"]) for example in examples]),
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
    path, grouped, precision, sizes = sys.argv[1], sys.argv[2] == "1", sys.argv[3], json.loads(sys.argv[4])
    answers, examples = open_answers(), Examples(path)
    config = BertConfig(
        vocab_size=sizes["vocabulary"],
        hidden_size=sizes["hidden"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        intermediate_size=sizes["intermediate"],
        max_position_embeddings=sizes["positions"],
        pad_token_id=3,
    )
    pieces = int(examples.arrays["lengths"].sum())
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=precision == "bfloat16",
            per_device_train_batch_size=max(1, round(BUDGET * len(examples) / pieces)),
            num_train_epochs=1,
            train_sampling_strategy="group_by_length" if grouped else "random",
            learning_rate=5e-4,
            weight_decay=0.01,
            max_grad_norm=1.0,
            warmup_steps=WARM_UP,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(
            model=BertForPreTraining(config),
            args=arguments,
            train_dataset=examples,
            data_collator=collate,
            callbacks=[clock],
        )
        trainer.train()
    send(answers, {"pieces_per_second": round(pieces * clock.share / clock.seconds, 1)})


if __name__ == "__main__":
    main()
