"""Pretraining: a new encoder from raw text, as for Google BERT, or one adapted to other text."""

from jabert.dataset.raw_text import documents, examine
from jabert.pretraining.training import Pretrained, pretrain
from jabert.pretraining.vocabulary import Vocabulary, train_sentencepiece

__all__ = ["Pretrained", "Vocabulary", "documents", "examine", "pretrain", "train_sentencepiece"]
