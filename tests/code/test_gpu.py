"""What a GPU computes, held against the CPU. Needs a device: `make test-gpu`."""

import numpy as np
import pytest

from jabert.config import EncoderSettings
from jabert.encoder import Tokenizer, choose, open_folder
from jabert.encoder.reference import ReferenceEncoder
from jabert.encoder.tensorflow import TensorFlowEncoder
from jabert.legacy_keras import gpu_names, import_tensorflow, use_device

pytestmark = pytest.mark.gpu

TEXTS = ["京都のお寺で静かな時間を過ごす。", "昨日の試合", "新しい携帯電話に買い替えたい。"]


def test_there_is_a_gpu_and_auto_takes_it():
    assert gpu_names()
    assert use_device("auto") == use_device("gpu") == "/GPU:0"


@pytest.mark.parametrize(("precision", "smallest_cosine"), [("float32", 0.99999), ("bfloat16", 0.97)])
def test_vectors_are_those_of_the_cpu(toy_encoder, precision, smallest_cosine):
    folder = open_folder(toy_encoder)
    ids = Tokenizer(folder, EncoderSettings())(TEXTS).ids
    # Not load_encoder: `encoder.device = cpu` hides the GPU from the process for good.
    exact = ReferenceEncoder(folder, "/CPU:0")(ids)
    quick = TensorFlowEncoder(folder, precision, "/GPU:0", 256)(ids)
    cosines = (exact * quick).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(quick, axis=1)
    assert cosines.min() >= smallest_cosine


def test_auto_is_tensorflow_and_says_so():
    choice = choose(EncoderSettings())
    assert (choice.engine, choice.device) == ("tensorflow", "/GPU:0")


def test_the_cudnn_lstm_with_right_padding_is_the_packed_one_of_the_cpu(monkeypatch):
    from jabert.methods.bi_lstm.layer import bi_lstm

    tf = import_tensorflow()
    tf.config.experimental.enable_tensor_float_32_execution(False)  # on an H100 it is off by 0.0004
    layer = bi_lstm(356, "layer")
    vectors = np.random.default_rng(0).normal(size=(4, 30, 384)).astype(np.float32)
    mask = tf.sequence_mask([30, 1, 7, 22])
    on_gpu = layer(vectors, mask=mask)
    with monkeypatch.context() as cpu, tf.device("/CPU:0"):
        cpu.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
        on_cpu = layer(vectors, mask=mask)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)
