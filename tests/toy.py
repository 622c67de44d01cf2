"""A toy encoder in the published form, a toy corpus for it, and BERT's forward pass in plain NumPy."""

import io
import json

import numpy as np
import pandas as pd

LABELS = ["グルメ", "スポーツ", "京都", "携帯電話"]  # sorted, as the label encoder has them

# Own sentences, four topics and everyday talk; what SentencePiece is trained on.
SENTENCES = """\
駅前の食堂で昼ごはんを食べた。
カレーの味がとても良かった。
この店のラーメンは少し高いけれど美味しい。
母が作った煮物は甘くて優しい味がする。
夜は友人と焼き鳥を食べに行った。
予約なしでも席に座れてうれしい。
デザートのケーキが小さくて残念だった。
朝はパンとコーヒーだけで十分だ。
新しい料理を覚えたので週末に作ってみる。
魚の鮮度が良い店を探している。
辛い料理が苦手な人には向かない。
地元の野菜を使ったスープが人気だ。
電話の画面が割れてしまった。
新しい携帯電話に買い替えたい。
電池がすぐに切れるので困っている。
メールの返事が遅いと母に言われた。
写真をたくさん撮ったら容量が足りない。
料金が高いので契約を見直した。
着信音を好きな曲に変えた。
電車の中では電源を切ってほしい。
アプリを入れすぎて動きが遅い。
機種変更の手続きに一時間もかかった。
SNSの通知が多すぎて疲れる。
docomoの店員さんは親切だった。
秋の京都は紅葉がきれいだ。
清水の舞台から町を眺めた。
お寺の庭で静かな時間を過ごす。
鴨川のほとりを散歩した。
祇園祭の夜は人でいっぱいだった。
古い町家を直した宿に泊まる。
バスが混んでいたので歩いて行った。
金色のお寺は写真で見るより小さい。
お土産に八つ橋を買って帰った。
嵐山の竹林は朝早くがおすすめだ。
学生の多い町なので本屋がたくさんある。
石畳の坂道で着物の人とすれ違った。
昨日の試合は最後まで目が離せなかった。
野球の応援で声がかれた。
サッカーの代表が勝ってうれしい。
毎朝公園を走るようにしている。
泳ぐのは得意だが走るのは苦手だ。
選手の練習を見て感動した。
監督の采配には納得できない。
マラソンの大会に申し込んだ。
相撲の番付が発表された。
テニスの道具を一式そろえた。
雨で試合が中止になった。
子どもの運動会で久しぶりに走った。
今日は朝から雨が降っている。
明日は早く起きなければならない。
本を読んでいたら夜になっていた。
猫が窓のそばで眠っている。
来週の会議の資料をまだ作っていない。
誕生日に花をもらった。
友達と映画を見に行く約束をした。
電車が遅れて仕事に間に合わなかった。
もう少し広い部屋に引っ越したい。
日記を書くのは三日で飽きた。
Webで調べたらすぐに分かった。
AとBのどちらを選ぶか迷っている。
20年ぶりに昔の先生に会った。
HelloとThank youしか言えなかった。
""".splitlines()

TOPIC_WORDS = {
    "グルメ": ["ラーメン", "カレー", "料理", "ケーキ", "食堂", "スープ"],
    "スポーツ": ["試合", "選手", "野球", "マラソン", "練習", "応援"],
    "京都": ["お寺", "紅葉", "祇園祭", "鴨川", "嵐山", "町家"],
    "携帯電話": ["電話", "電池", "メール", "機種", "料金", "着信音"],
}
STARTS = ["今日は{}", "友達と{}", "昨日の{}", "{}", "やっぱり{}と{}", "久しぶりに{}、{}"]
ENDINGS = {
    "グルメ": ["を食べた。", "がとても美味しい。"],
    "スポーツ": ["を応援した。", "で勝ってうれしい。"],
    "京都": ["まで歩いて行った。", "は静かできれいだ。"],
    "携帯電話": ["を買い替えた。", "の画面が割れた。"],
}

CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 16,
    "initializer_range": 0.02,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": 320,
}


def make_encoder(folder, *, cased=False, seed=0, **sizes):
    """Write a folder in the form of a published BERT: SentencePiece model, checkpoint, bert_config.json."""
    folder.mkdir(parents=True)
    config = CONFIG | sizes
    train_sentencepiece(folder / "toy-ja.model", config["vocab_size"], cased=cased)
    write_checkpoint(folder / "model.ckpt-1", random_weights(config, seed))
    (folder / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def train_sentencepiece(path, vocab_size, *, cased=False, specials=("[PAD]", "[CLS]", "[SEP]", "[MASK]")):
    """A unigram model with bert-japanese's first ids: <unk> <s> </s> [PAD] [CLS] [SEP] [MASK]."""
    import sentencepiece

    sentences = [*SENTENCES, *toy_rows()["text"]]
    if not cased:
        sentences = [sentence.lower() for sentence in sentences]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="unigram",
        control_symbols=list(specials),
        normalization_rule_name="nmt_nfkc",
        character_coverage=0.98,  # rare characters become <unk>, as they do in a real vocabulary
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def random_weights(config, seed=0):
    """Variables by the names of Google BERT, heads of pretraining included, float32."""
    random = np.random.default_rng(seed)
    hidden, wide, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes = {
        "bert/embeddings/word_embeddings": (vocab, hidden),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], hidden),
        "bert/embeddings/token_type_embeddings": (config["type_vocab_size"], hidden),
        "bert/pooler/dense": (hidden, hidden),
        "cls/predictions/transform/dense": (hidden, hidden),
        "cls/predictions/output_bias": (vocab,),
        "cls/seq_relationship/output_weights": (2, hidden),
        "cls/seq_relationship/output_bias": (2,),
    }
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"bert/encoder/layer_{layer}"
        for name in ("self/query", "self/key", "self/value", "output/dense"):
            shapes[f"{prefix}/attention/{name}"] = (hidden, hidden)
        shapes[f"{prefix}/intermediate/dense"] = (hidden, wide)
        shapes[f"{prefix}/output/dense"] = (wide, hidden)
        norms += [f"{prefix}/attention/output/LayerNorm", f"{prefix}/output/LayerNorm"]
    weights = {}
    for name, shape in shapes.items():
        if name.endswith(("dense", "query", "key", "value")):
            # Wider than BERT's 0.02, so that a token that is wrongly masked shows.
            weights[f"{name}/kernel"] = random.normal(0, 0.2, shape)
            weights[f"{name}/bias"] = random.normal(0, 0.1, shape[1:])
        else:
            weights[name] = random.normal(0, 0.5, shape)
    for norm in norms:
        weights[f"{norm}/gamma"] = random.normal(1, 0.1, hidden)
        weights[f"{norm}/beta"] = random.normal(0, 0.1, hidden)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def write_checkpoint(prefix, weights):
    """A TensorFlow checkpoint with these variables."""
    from jabert.legacy_keras import import_tensorflow

    names = sorted(weights)
    import_tensorflow().raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[weights[name] for name in names],
    )


def read_checkpoint(prefix):
    """The variables of a checkpoint by name."""
    from jabert.legacy_keras import import_tensorflow

    reader = import_tensorflow().train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def toy_rows(rows=160, groups=40, seed=0):
    """A table of distinct texts with label and group; a group (article) has one label."""
    random = np.random.default_rng(seed)
    seen, table = set(), []
    while len(table) < rows:
        group = len(table) % groups
        label = LABELS[group % len(LABELS)]
        start = random.choice(STARTS).format(*random.choice(TOPIC_WORDS[label], 2, replace=False))
        text = start + random.choice(ENDINGS[label])
        if text not in seen:
            seen.add(text)
            table.append({"text": text, "label": label, "group": f"article-{group:02}"})
    return pd.DataFrame(table)


def quick_settings(table, encoder):
    """Overrides for a small, quick retraining."""
    return [
        f"data.path={table}",
        f"encoder.path={encoder}",
        "data.test_share=0.25",
        "data.validation_share=0.25",
        "method.units=8",
        "method.dropout=0",
        "training.epochs=3",
        "training.batch_size=16",
        "training.averaging=0",  # a few steps would hardly show in the mean of the weights
        "promotion.floor=0",  # nor do they make a model that is surely better than chance
    ]


def settings_of(table, *overrides):
    """Settings with a table of which a quarter are test rows, and a quarter validation rows."""
    from jabert.config import load_settings

    shares = ["data.test_share=0.25", "data.validation_share=0.25"]
    return load_settings(None, [f"data.path={table}", *shares, *overrides])


def numpy_bert(weights, config, ids, attended=None, layers=1):
    """BERT's forward pass of one text, as keras-bert computes it, from the formulas.

    Vaswani et al. 2017 and Devlin et al. 2018; gelu in its tanh form (keras_transformer/gelu.py) and layer
    normalisation with epsilon 1e-14 (keras_layer_normalization: 1e-7 squared).

    Args:
        weights: variables by Google BERT's names.
        config: as in bert_config.json.
        ids: int (tokens,).
        attended: bool (tokens,), the tokens that attention may look at; all without it.
        layers: the last ones, whose vectors stand side by side.

    Returns:
        float64 (tokens, layers * hidden).
    """
    attended = np.ones(len(ids), dtype=bool) if attended is None else attended
    heads, tokens = config["num_attention_heads"], len(ids)

    def weight(name):
        return weights[name].astype(np.float64)

    def dense(x, name):
        return x @ weight(f"{name}/kernel") + weight(f"{name}/bias")

    def norm(x, name):
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-14)
        return centred / deviation * weight(f"{name}/gamma") + weight(f"{name}/beta")

    def split(x):  # (tokens, hidden) -> (heads, tokens, hidden / heads)
        return x.reshape(tokens, heads, -1).transpose(1, 0, 2)

    tables = (f"bert/embeddings/{kind}_embeddings" for kind in ("word", "token_type", "position"))
    rows = (ids, 0, slice(tokens))
    x = sum(weights[table][row].astype(np.float64) for table, row in zip(tables, rows, strict=True))
    x = norm(x, "bert/embeddings/LayerNorm")
    outputs = []
    for layer in range(config["num_hidden_layers"]):
        prefix = f"bert/encoder/layer_{layer}"
        query, key, value = (
            split(dense(x, f"{prefix}/attention/self/{n}")) for n in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])  # (heads, tokens, tokens)
        scores = np.where(attended, scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        context = (shares @ value).transpose(1, 0, 2).reshape(tokens, -1)
        x = norm(
            x + dense(context, f"{prefix}/attention/output/dense"), f"{prefix}/attention/output/LayerNorm"
        )
        wide = dense(x, f"{prefix}/intermediate/dense")
        wide = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        x = norm(x + dense(wide, f"{prefix}/output/dense"), f"{prefix}/output/LayerNorm")
        outputs.append(x)
    return np.concatenate(outputs[-layers:], axis=1)
