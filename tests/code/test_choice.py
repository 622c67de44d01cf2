"""What `auto` means on which machine; the machines are made up."""

from types import SimpleNamespace

import numpy as np
import pytest
import toy

from jabert import legacy_keras
from jabert.config import EncoderSettings
from jabert.encoder import (
    TokenIds,
    Tokenizer,
    choice,
    choose,
    load_encoder,
    open_folder,
    token_budget,
    vector_origin,
)
from jabert.encoder.batching import token_budget_batches
from jabert.encoder.choice import Choice, cpu_has_bfloat16
from jabert.encoder.tensorflow import TensorFlowEncoder
from jabert.errors import JabertError


@pytest.fixture
def machine(monkeypatch):
    """Make this machine one with these parts."""

    def become(*, bfloat16=False, capability=None, packages=("openvino",)):
        gpu = capability is not None
        monkeypatch.setattr(choice, "cpu_has_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(choice, "find_spec", lambda name: name if name in packages else None)
        monkeypatch.setattr(choice, "_GPU_FILES", ("/dev/null",) if gpu else ("/no/such/device",))
        monkeypatch.setattr(choice, "use_device", lambda wanted: "/GPU:0" if gpu else "/CPU:0")
        monkeypatch.setattr(choice, "compute_capability", lambda: capability or (0, 0))

    return become


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ({}, ("openvino", "float32", "/CPU:0")),
        ({"bfloat16": True}, ("openvino", "bfloat16", "/CPU:0")),
        ({"bfloat16": True, "packages": ()}, ("reference", "float32", "/CPU:0")),
        ({"capability": (9, 0)}, ("tensorflow", "bfloat16", "/GPU:0")),
        ({"capability": (7, 5), "bfloat16": True}, ("tensorflow", "float32", "/GPU:0")),
    ],
)
def test_auto_takes_the_fast_path_of_the_machine(machine, parts, chosen):
    machine(**parts)
    assert choose(EncoderSettings()) == Choice(*chosen)


def test_the_cpu_is_taken_beside_a_gpu_when_asked_for(machine):
    machine(capability=(9, 0))
    assert choose(EncoderSettings(device="cpu")) == Choice("openvino", "float32", "/CPU:0")
    assert choose(EncoderSettings(engine="openvino")).device == "/CPU:0"
    assert choose(EncoderSettings(engine="reference")) == Choice("reference", "float32", "/GPU:0")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"engine": "openvino", "device": "gpu"}, "'openvino' runs on the CPU, but encoder.device is 'gpu'"),
        ({"engine": "reference", "precision": "bfloat16"}, "'reference' computes in float32"),
        ({"engine": "openvino", "precision": "bfloat16"}, "this CPU has neither AVX-512 BF16 nor AMX"),
    ],
)
def test_what_does_not_fit_is_said(machine, settings, sentence):
    machine(capability=(9, 0))
    with pytest.raises(JabertError, match=sentence):
        choose(EncoderSettings(**settings))


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cpu", "encoder.device is 'cpu', but this process uses the GPU already; start a new one"),
        ("gpu", "the GPU has been hidden from TensorFlow in this process; start a new one"),
    ],
)
def test_a_device_that_this_process_can_no_more_take_is_said(monkeypatch, device, sentence):
    def too_late(*_):
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    config = SimpleNamespace(
        set_visible_devices=too_late,
        list_physical_devices=lambda _: ["GPU:0"],
        get_visible_devices=lambda _: [],
    )
    monkeypatch.setattr(legacy_keras, "import_tensorflow", lambda: SimpleNamespace(config=config))
    with pytest.raises(JabertError, match=f"^{sentence}$"):
        legacy_keras.use_device(device)


def test_a_package_that_is_missing_is_said(machine):
    machine(packages=())
    with pytest.raises(JabertError, match="openvino is not installed; pip install openvino, or use 'auto'"):
        choose(EncoderSettings(engine="openvino"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx512_bf16", True), ("fma amx_bf16 x", True), ("fma avx512f", False), ("", False)],
)
def test_the_flags_of_the_cpu_are_read(tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbogomips\t: 1\n")
    assert cpu_has_bfloat16(cpuinfo) == expected
    assert not cpu_has_bfloat16(tmp_path / "none")


def test_engines_share_vectors_at_float32_only(toy_encoder, machine):
    machine(bfloat16=True)
    folder = open_folder(toy_encoder)
    exact = [
        vector_origin(folder, EncoderSettings(engine=engine, precision="float32"))
        for engine in ("reference", "openvino", "tensorflow")
    ]
    assert exact[0] == exact[1] == exact[2]
    fast = [
        vector_origin(folder, EncoderSettings(engine=engine, precision="bfloat16"))
        for engine in ("openvino", "tensorflow")
    ]
    assert len({str(origin) for origin in [exact[0], *fast]}) == 3


def test_the_budget_of_a_batch_follows_the_width_of_the_model(toy_encoder, machine):
    machine(bfloat16=True)

    def budget(width, **settings):
        config = SimpleNamespace(intermediate_size=width, max_position_embeddings=512)
        return token_budget(SimpleNamespace(config=config, is_onnx=False), EncoderSettings(**settings))

    assert [budget(width) for width in (1536, 3072, 100_000)] == [2048, 1024, 512]
    assert budget(1536, precision="float32") == 1024
    assert budget(1536, token_budget=7) == 7
    machine(capability=(9, 0))
    assert budget(1536) == 16_384


def test_the_kept_graph_is_used_again_without_the_checkpoint(toy_encoder, tmp_path, monkeypatch):
    folder = open_folder(toy_encoder)
    settings = EncoderSettings(engine="openvino", precision="float32", cache_path=str(tmp_path / "engines"))
    ids = Tokenizer(folder, settings)(toy.SENTENCES[:3]).ids
    before = load_encoder(folder, settings)(ids)

    def refuse(folder):
        raise AssertionError("the checkpoint was read")

    monkeypatch.setattr("jabert.encoder.openvino.read_variables", refuse)
    np.testing.assert_array_equal(load_encoder(folder, settings)(ids), before)
    load_encoder(folder, settings.model_copy(update={"pad_to": 64}))  # another mask, the same graph


def test_a_damaged_graph_is_named(toy_encoder, tmp_path):
    folder = open_folder(toy_encoder)
    settings = EncoderSettings(engine="openvino", cache_path=str(tmp_path))
    load_encoder(folder, settings)
    (path,) = tmp_path.glob("*/encoder.xml")
    path.write_text("<net")
    with pytest.raises(
        JabertError, match=f"{path} cannot be read; delete {path.parent}, and it is built again"
    ):
        load_encoder(folder, settings)


def test_batches_for_a_gpu_have_few_shapes_and_no_row_that_is_masked_whole(toy_encoder):
    encoder = TensorFlowEncoder(open_folder(toy_encoder), "float32", "/CPU:0", 256)
    lengths = np.random.default_rng(0).integers(2, 65, 500).astype(np.int32)
    shapes = set()
    for batch in token_budget_batches(lengths, 256, encoder.width_step):
        ids, filled = encoder._fill(TokenIds.of(np.ones(lengths[row]) for row in batch))
        assert filled.min() >= 1
        assert (filled[: len(batch)] == lengths[batch]).all()
        shapes.add(ids.shape)
    assert shapes == {(16, 16), (8, 32), (5, 48), (4, 64)}
