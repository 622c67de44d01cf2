"""Pretraining: a new encoder from raw text, as for Google BERT, or one adapted to other text."""

from jabert.pretraining.corpus import CorpusFacts, documents, examine
from jabert.pretraining.training import Point, Pretrained, pretrain
from jabert.pretraining.vocabulary import Vocabulary, train_sentencepiece

__all__ = [
    "CorpusFacts",
    "Point",
    "Pretrained",
    "Vocabulary",
    "documents",
    "examine",
    "pretrain",
    "train_sentencepiece",
]
