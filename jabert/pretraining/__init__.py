"""Making an encoder from raw text, as Google BERT is made, or adapting one to other text."""

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
