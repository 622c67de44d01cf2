"""The model card of a pretrained encoder: its texts, its settings, and its measurements at the end."""

from collections.abc import Mapping

from jabert import markdown
from jabert.config import Settings
from jabert.encoder.folder import BertConfig
from jabert.pretraining.corpus import CorpusFacts
from jabert.pretraining.training import Point


def render_card(
    settings: Settings,
    config: BertConfig,
    facts: CorpusFacts,
    history: list[Point],
    origin: Mapping[str, str],
) -> str:
    """Markdown for the encoder's `README.md`.

    Args:
        settings: those of the run; the card holds them as a recipe that repeats it.
        config: sizes of the encoder.
        facts: counts and digest of the corpus.
        history: measurements; the last is shown.
        origin: fingerprints of the start and the teacher by role, empty without them.
    """
    end = {name: value for name, value in history[-1].items() if name not in ("epoch", "batches")}
    last = {"step": int(end.pop("step"))} | {name: float(value) for name, value in end.items()}
    texts, sizes, at_the_end, learned_from = (
        [list(pair) for pair in pairs.items()] for pairs in (vars(facts), vars(config), last, origin)
    )
    licence = (settings.corpus.licence or "not stated").rstrip(".")
    return "\n".join(
        [
            "# A Japanese BERT encoder, pretrained by jabert",
            "",
            f"Licence of the texts: {licence}.",
            "",
            markdown.table(["texts", ""], texts, longest=None),
            "",
            markdown.table(["size", ""], sizes),
            "",
            markdown.table(["at the end", ""], at_the_end),
            "",
            *([markdown.table(["learned from", "fingerprint"], learned_from, None), ""] if origin else []),
            "Made with `jabert pretrain --recipe config.toml`, where `config.toml` is",
            "",
            "```toml",
            settings.to_toml().strip(),
            "```",
            "",
        ]
    )
