"""The bar chart of the forward pass: `python benchmarks/bars.py [RESULTS] [docs/benchmark.png]`.

Draws the milliseconds per text of each implementation in `forward.json` and `forward-bert-base.json`, on a
logarithmic axis.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers import RESULTS

from jabert.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, GREY, ORANGE = "#2b6cb0", "#b6c0ca", "#dd7a26"
NAMES = ("forward", "forward-bert-base")


def main() -> None:
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("picture", type=Path, nargs="?", default=Path("docs/benchmark.png"))
    options = parser.parse_args()
    found = [options.results / f"{name}.json" for name in NAMES]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    figure = Figure(figsize=(9, 4.6 * len(results)), layout="constrained")
    for axes, result in zip(figure.subplots(len(results), squeeze=False)[:, 0], results, strict=True):
        draw(axes, result)
    print(plots.save(figure, options.picture))


def draw(axes: "Axes", result: dict[str, Any]) -> None:
    """One encoder: a bar per implementation, and lines for the limit set by matrix multiplication."""
    rows = [row for row in result["ways"] if "ms" in row][::-1]
    colours = [BLUE if row["way"].startswith("jabert") else GREY for row in rows]
    bars = axes.barh([row["way"] for row in rows], [row["ms"] for row in rows], color=colours)
    axes.bar_label(bars, fmt="{:.1f}", padding=3)
    for name, limit in result["limits"].items():
        axes.axvline(limit["ms"], color=ORANGE, linewidth=1, linestyle="--" if name == "float32" else ":")
        axes.annotate(f"limit, {name}", (limit["ms"], 1), (0, 3), xycoords=("data", "axes fraction"),
                      textcoords="offset points", rotation=35, color=ORANGE, fontsize=8)  # fmt: skip
    encoder = result["encoder"]
    axes.set(xscale="log", xlabel="ms a text")
    axes.set_title(
        f"{encoder['num_hidden_layers']} layers of {encoder['hidden_size']}, {result['texts']:,} texts of "
        f"{result['tokens'] / result['texts']:.0f} tokens, {result['machine']['cores']} cores",
        loc="left",
        pad=42,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:g}")


if __name__ == "__main__":
    main()
