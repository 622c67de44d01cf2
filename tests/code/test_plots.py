import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.text import Text

from jabert.errors import JabertError
from jabert.evaluation import Calibration, evaluate
from jabert.methods import Layer
from jabert.report import plots

LABELS = ("グルメ", "携帯電話", "京都", "スポーツ")


def report_of(labels, rows=60, calibration=None):
    random = np.random.default_rng(0)
    true = random.integers(0, len(labels), rows)
    probabilities = random.dirichlet(np.ones(len(labels)), rows)
    table = pd.DataFrame({"text": ["文"] * rows, "label": [labels[i] for i in true]})
    return evaluate(table, probabilities, labels, calibration=calibration, resamples=10)


def history_of(epochs):
    epoch = np.arange(1, epochs + 1)
    columns = ["loss", "mae", "mse", "acc", "val_loss", "val_mae", "val_mse", "val_acc", "seconds"]
    history = pd.DataFrame({"epoch": epoch, **dict.fromkeys(columns, 1 / epoch)})
    history["val_weighted_f1"] = 0.7 - 0.01 * (epoch - 3) ** 2
    history["best"] = epoch == 3
    return history


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def kept_epochs(figure):
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [int(line.get_xdata()[0]) for line in lines if line.get_label().startswith("kept")]


PICTURES = {
    "confusion_matrix": lambda: plots.confusion_matrix(report_of(LABELS)),
    "reliability": lambda: plots.reliability(report_of(LABELS)),
    "coverage": lambda: plots.coverage(report_of(LABELS)),
    "per_class": lambda: plots.per_class(report_of(LABELS)),
    "learning_curves": lambda: plots.learning_curves(history_of(8)),
    "model_structure": lambda: plots.model_structure([Layer("埋め込み", "Embedding", "(tokens, 8)", 80)]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_whole_png_and_leaves_the_process_as_it_was(name, tmp_path):
    before = dict(matplotlib.rcParams)
    path = plots.save(PICTURES[name](), tmp_path / "deep" / f"{name}.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    image = imread(path)
    assert min(image.shape[:2]) > 150
    assert image[..., :3].std() > 0.02
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert dict(matplotlib.rcParams) == before


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    figure = PICTURES["model_structure"]()

    def fail(path, **_):
        path.write_bytes(b"half")
        raise OSError("no")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(JabertError, match=r"picture\.png cannot be written: no"):
        plots.save(figure, tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("draw", [plots.confusion_matrix, plots.per_class])
def test_japanese_names_are_drawn_as_letters(draw):
    # Without a Japanese font both pairs would be the same two empty boxes.
    some, same, other = (pixels(draw(report_of([name, "x"]))) for name in ("京都", "京都", "東京"))
    assert np.array_equal(some, same)
    assert some.shape == other.shape
    assert (some != other).any()


def test_what_no_font_can_draw_becomes_a_geta_mark_without_a_warning():
    figure = plots.confusion_matrix(report_of(["祭🎉", "$5$", "か\u3099く", "改\n行\x00\u200d"]))
    pixels(figure)  # a glyph that is missing would warn, and warnings are errors
    assert {"祭〓", "$5$", "がく", "改 行"} <= set(texts(figure))
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if "$" in text.get_text())


def test_the_confusion_matrix_shows_counts_true_classes_down():
    report = report_of(LABELS)
    figure = plots.confusion_matrix(report)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LABELS)
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    row = report.confusion[2]
    assert cells[1, 2] == f"{row[1]}\n{row[1] / sum(row):.0%}"
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()).sum(axis=1), 1)


@pytest.mark.parametrize(
    "labels", [["京都"], [f"分類{i}" for i in range(30)], ["とても長い分類の名前" * 5, "b" * 90]]
)
@pytest.mark.parametrize("draw", [plots.confusion_matrix, plots.per_class])
def test_few_many_and_long_classes_fit_the_picture(draw, labels):
    figure = draw(report_of(labels))
    pixels(figure)
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_a_class_without_rows_is_drawn():
    rows = pd.DataFrame({"text": ["文"], "label": ["京都"]})
    report = evaluate(rows, np.array([[0.1, 0.2, 0.6, 0.1]]), LABELS)
    assert "0\n0%" in texts(plots.confusion_matrix(report))


def test_the_reliability_diagram_shows_each_bin_and_the_diagonal():
    report = report_of(LABELS)
    figure = plots.reliability(report)
    (axes,) = figure.axes
    diagonal, curve = axes.get_lines()
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_xydata().tolist() == [[each.confidence, each.accuracy] for each in report.reliability]
    assert f"{report.ece:.3f}" in axes.get_title(loc="left")


def test_the_coverage_curve_marks_the_threshold_of_the_model_if_it_has_one():
    plain, own = report_of(LABELS), report_of(LABELS, calibration=Calibration(40, 1.0, 0.5))
    curve, mark = plots.coverage(own).axes[0].get_lines()
    assert curve.get_xydata().tolist() == [[each.share, each.accuracy] for each in own.coverage]
    assert mark.get_xydata().tolist() == [[own.answered.share, own.answered.accuracy]]
    assert mark.get_label().startswith("threshold 0.50: ")
    assert len(plots.coverage(plain).axes[0].get_lines()) == 1


def test_learning_curves_mark_the_kept_epoch():
    history = history_of(6)
    history["best"] = [True, True, False, False, True, False]
    figure = plots.learning_curves(history, watched="test rows")
    assert kept_epochs(figure) == [5, 5, 5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "training",
        "test rows",
        "kept: epoch 5",
    ]
    history["best"] = False
    assert kept_epochs(plots.learning_curves(history)) == []


def test_one_epoch_is_drawn_with_one_tick():
    figure = plots.learning_curves(history_of(1))
    pixels(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Loss", "Accuracy", "Weighted F1"]
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_the_structure_names_every_layer_from_input_to_output():
    figure = plots.model_structure(
        [
            Layer("入力", "SentencePiece", "(tokens,)", 0),
            Layer("Transformer", "attention", "(tokens, 768)", 7_000_000, repeated=12),
            Layer("softmax", "Dense", "(4,)", 2_852),
        ]
    )
    shown = texts(figure)
    expected = ["入力", "Transformer", "7,000,000 parameters", "× 12", "84,002,852 parameters in all"]
    assert set(expected) <= set(shown)
    assert "0 parameters" not in shown
    heights = {text.get_text(): text.get_window_extent().y0 for text in figure.axes[0].texts}
    assert heights["入力"] > heights["Transformer"] > heights["softmax"]


def test_curves_of_a_training_that_watched_no_rows_are_drawn():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 0.5], "best": [False, True]})
    axes = plots.learning_curves(history).axes
    assert [len(each.lines) for each in axes] == [1, 0, 0]
