"""Makes models.tar.xz: small random models in Hugging Face's form, and what transformers makes of texts.

Run it with the environment of `make peers`, and with pandas, sentencepiece, fugashi, ipadic and
unidic-lite in it:

    .venv-peers/bin/python tests/hugging_face/make_models.py

Each folder holds a model as one downloads it, and `golden.npz`: texts, token ids with those around a text,
how many there are of each text, and the vectors of the last layer.
"""

import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
from toy import SENTENCES, toy_rows

TEXTS = [
    *SENTENCES[::9],
    "Hello World, これはＢＥＲＴの話です。",
    "ｶﾚｰと㍿と℃、20年ぶりのＳＮＳ",
    "Café à la carte — naïve",
    "絵文字😀と    空白　全角",
    "が" * 30,
    "電話",
]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def sentences(*, cased):
    found = [*SENTENCES, *toy_rows()["text"]]
    return found if cased else [text.lower() for text in found]


def train(path, *, cased, **more):
    """A SentencePiece model of 300 pieces."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(cased=cased)),
        model_prefix=str(path.with_suffix("")),
        vocab_size=300,
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
        **more,
    )
    path.with_suffix(".vocab").unlink()


def words_of(path, words, *, cased):
    """A WordPiece vocabulary: characters, also as continuations, and words."""
    signs = sorted({sign for word in words for sign in word})
    frequent = sorted(set(words), key=lambda word: (-words.count(word), word))
    chosen = [word for word in frequent if len(word) > 1][:120]
    pieces = [*SPECIAL, *signs, *(f"##{sign}" for sign in signs), *chosen]
    path.write_text("\n".join(pieces if cased else dict.fromkeys(map(str.lower, pieces[5:]), 0)) + "\n")
    if not cased:
        path.write_text("\n".join([*SPECIAL, *dict.fromkeys(map(str.lower, pieces[5:]))]) + "\n")


def save(folder, model, tokenizer, ids_of, **after):
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():  # wider than BERT's 0.02, so that a mistake shows
        wide = 0.3 if "orm" not in name else 0.1
        torch.nn.init.normal_(parameter, 1.0 if "orm.weight" in name else 0.0, wide)
    model.eval().save_pretrained(folder)
    rows = [ids_of(text) for text in TEXTS]
    with torch.no_grad():
        vectors = [
            model(torch.tensor([row]), **{k: v(len(row)) for k, v in after.items()})[0][0] for row in rows
        ]
    np.savez_compressed(
        folder / "golden.npz",
        texts=np.array(TEXTS),
        ids=np.concatenate(rows).astype(np.int32),
        lengths=np.array([len(row) for row in rows]),
        vectors=np.concatenate([each.numpy() for each in vectors]),
    )
    for name in ("generation_config.json", "README.md"):
        (folder / name).unlink(missing_ok=True)


def tokenizer_config(folder, **values):
    (folder / "tokenizer_config.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


def make(root):  # noqa: PLR0915
    def folder(name):
        (root / name).mkdir()
        return root / name

    # multilingual-e5: BERT with XLM-R's tokenizer, as SentencePiece
    here = folder("e5")
    train(here / "sentencepiece.bpe.model", cased=True)
    tokenizer_config(here, tokenizer_class="XLMRobertaTokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(here)
    config = transformers.BertConfig(vocab_size=320, max_position_embeddings=64, **SIZES)
    save(
        here,
        transformers.BertModel(config, add_pooling_layer=False),
        tokenizer,
        lambda t: tokenizer(t)["input_ids"],
    )

    # XLM-R: position offset, one segment, epsilon 1e-5; tokenizer.json alone, and weights of a masked LM
    here = folder("xlm-r")
    train(root / "sentencepiece.bpe.model", cased=True)
    tokenizer.save_pretrained(here)
    (root / "sentencepiece.bpe.model").unlink()
    (here / "sentencepiece.bpe.model").unlink(missing_ok=True)
    config = transformers.XLMRobertaConfig(
        vocab_size=302,
        max_position_embeddings=66,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        **SIZES,
    )
    whole = transformers.XLMRobertaForMaskedLM(config)
    save(here, whole.roberta, tokenizer, lambda t: tokenizer(t)["input_ids"])
    whole.save_pretrained(here)

    # rinna: RoBERTa with T5's tokenizer on a lower-cased SentencePiece model with user-defined symbols
    here = folder("rinna")
    train(here / "spiece.model", cased=False, user_defined_symbols=["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer_config(
        here,
        tokenizer_class="T5Tokenizer",
        do_lower_case=True,
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(here / "spiece.model"))
    config = transformers.RobertaConfig(
        vocab_size=320,
        max_position_embeddings=68,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        pad_token_id=3,
        **SIZES,
    )
    cls, sep = pieces.piece_to_id("[CLS]"), pieces.piece_to_id("[SEP]")
    save(
        here,
        transformers.RobertaModel(config, add_pooling_layer=False),
        None,
        lambda t: [cls, *pieces.encode(t.lower()), sep],
    )

    # Google's multilingual BERT: WordPiece, lower-cased, accents and voiced marks off
    here = folder("wordpiece-uncased")
    plain = transformers.models.bert.tokenization_bert_legacy.BasicTokenizer(do_lower_case=True)
    words_of(here / "vocab.txt", [w for s in sentences(cased=True) for w in plain.tokenize(s)], cased=True)
    tokenizer_config(here, tokenizer_class="BertTokenizer", do_lower_case=True)
    tokenizer = transformers.models.bert.tokenization_bert_legacy.BertTokenizerLegacy(
        here / "vocab.txt", do_lower_case=True
    )
    count = len((here / "vocab.txt").read_text().splitlines())
    config = transformers.BertConfig(
        vocab_size=count, max_position_embeddings=64, hidden_act="gelu_new", **SIZES
    )
    save(here, transformers.BertModel(config), tokenizer, lambda t: tokenizer(t)["input_ids"])

    # the same with case, as tokenizer.json
    here = folder("wordpiece-cased")
    plain = transformers.models.bert.tokenization_bert_legacy.BasicTokenizer(do_lower_case=False)
    words_of(root / "vocab.txt", [w for s in sentences(cased=True) for w in plain.tokenize(s)], cased=True)
    fast = transformers.BertTokenizer(vocab=str(root / "vocab.txt"), do_lower_case=False)
    fast.save_pretrained(here)
    count = len((root / "vocab.txt").read_text().splitlines())
    (root / "vocab.txt").unlink()
    config = transformers.BertConfig(vocab_size=count, max_position_embeddings=64, **SIZES)
    save(here, transformers.BertModel(config), fast, lambda t: fast(t)["input_ids"])

    # Tohoku: words of MeCab, then WordPiece or characters
    for name, dictionary, subwords in (
        ("tohoku", "ipadic", "wordpiece"),
        ("tohoku-char", "unidic_lite", "character"),
    ):
        here = folder(name)
        mecab = transformers.models.bert_japanese.tokenization_bert_japanese.MecabTokenizer(
            mecab_dic=dictionary
        )
        words_of(
            here / "vocab.txt", [w for s in sentences(cased=True) for w in mecab.tokenize(s)], cased=True
        )
        said = {
            "do_lower_case": False,
            "word_tokenizer_type": "mecab",
            "subword_tokenizer_type": subwords,
            "mecab_kwargs": {"mecab_dic": dictionary},
        }
        tokenizer_config(here, tokenizer_class="BertJapaneseTokenizer", **said)
        japanese = transformers.BertJapaneseTokenizer(here / "vocab.txt", **said)
        count = len((here / "vocab.txt").read_text().splitlines())
        config = transformers.BertConfig(vocab_size=count, max_position_embeddings=64, **SIZES)
        model = transformers.BertForPreTraining(config)
        save(here, model.bert, japanese, lambda t, japanese=japanese: japanese(t)["input_ids"])
        model.save_pretrained(here)

    # LINE: DistilBERT, words of MeCab, then SentencePiece with BERT's special pieces
    here = folder("line")
    train(here / "spiece.model", cased=True, user_defined_symbols=["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    said = {
        "do_lower_case": False,
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": "sentencepiece",
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
    }
    tokenizer_config(here, tokenizer_class="DistilBertJapaneseTokenizer", **said)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(here / "spiece.model"))
    mecab = transformers.models.bert_japanese.tokenization_bert_japanese.MecabTokenizer(
        mecab_dic="unidic_lite"
    )
    config = transformers.DistilBertConfig(
        vocab_size=300, max_position_embeddings=64, dim=16, n_layers=2, n_heads=2, hidden_dim=32
    )
    cls, sep = pieces.piece_to_id("[CLS]"), pieces.piece_to_id("[SEP]")
    save(
        here,
        transformers.DistilBertModel(config),
        None,
        lambda t: [cls, *(i for word in mecab.tokenize(t) for i in pieces.encode(word)), sep],
    )

    # ModernBERT in ONNX, with bert-japanese's pieces
    here = folder("modernbert")
    train(here / "tokenizer.model", cased=True, control_symbols=["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(here / "tokenizer.model"))
    cls, sep = pieces.piece_to_id("[CLS]"), pieces.piece_to_id("[SEP]")
    special = {
        "pad_token_id": 3,
        "cls_token_id": cls,
        "sep_token_id": sep,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    more = {"global_attn_every_n_layers": 2, "local_attention": 8, "attn_implementation": "eager"}
    config = transformers.ModernBertConfig(
        vocab_size=304, max_position_embeddings=64, **SIZES, **special, **more
    )
    modern = transformers.ModernBertModel(config)
    save(here, modern, None, lambda t: [cls, *pieces.encode(t), sep])
    (here / "model.safetensors").unlink()
    (here / "onnx").mkdir()
    ids, names = torch.ones(2, 12, dtype=torch.long), ["input_ids", "attention_mask"]
    torch.onnx.export(
        OnlyVectors(modern),
        (ids, ids),
        here / "onnx" / "model.onnx",
        dynamo=False,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*names, "last_hidden_state")},
        opset_version=17,
    )


class OnlyVectors(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "models"
        root.mkdir()
        make(root)
        for path in sorted(root.rglob("*")):
            print(path.relative_to(root), path.stat().st_size)
        with tarfile.open(Path(__file__).with_name("models.tar.xz"), "w:xz") as archive:
            archive.add(root, "models")
        if len(sys.argv) > 1:
            shutil.copytree(root, sys.argv[1], dirs_exist_ok=True)
