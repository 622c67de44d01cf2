"""Markdown as HTML, and as one self-contained file: styles and pictures are in it."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from jabert.fonts import font_face

STYLE = """\
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem 3rem; color: #22303c; background: #fff;
  font: 1rem/1.6 -apple-system, "Segoe UI", "Hiragino Sans", "Noto Sans CJK JP", "Noto Sans JP",
    "Yu Gothic", Meiryo, IPAexGothic, "of this page", system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem; border-bottom: 2px solid #d9dfe5; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 4px solid #dd7a26; background: #fdf5ee; }
.scrolls { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top; word-break: keep-all;
  overflow-wrap: normal; border-bottom: 1px solid #d9dfe5; }
th:first-child, td:first-child { min-width: 9rem; word-break: normal; }
td:nth-child(2):last-child { overflow-wrap: anywhere; word-break: normal; }
th { font-weight: 600; color: #5a6874; }
th:empty { padding: 0; }
pre, code { font-size: .85rem; background: #f3f6f9;
  font-family: ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK JP",
    "of this page", monospace; }
pre { padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.45; }
code { padding: .1rem .25rem; }
pre code { padding: 0; }
img { display: block; max-width: 100%; height: auto; margin: .5rem 0; }
@media print {
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  table { font-size: .8rem; }
  th, td, th:first-child { min-width: 0; padding-right: .5rem; word-break: normal; overflow-wrap: anywhere; }
  img { max-width: 11cm; }
  h2 { break-after: avoid; }
  tr, img, pre, blockquote { break-inside: avoid; }
}
"""

TABLE_OPEN = '<div class="scrolls" tabindex="0" role="group" aria-label="Table">'
"""What a table stands in, which the keyboard can scroll where the table is too wide; a `</div>` ends it."""


def webpage(markdown: str, title: str, pictures: Mapping[str, Path]) -> str:
    """Render Markdown as an HTML page; HTML tags in it are shown as text.

    Args:
        markdown: the Markdown.
        title: of the page.
        pictures: the PNG file for the address of each picture in the Markdown.
    """
    body = rendered(markdown, pictures)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}{font_face(body)}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def rendered(markdown: str, pictures: Mapping[str, Path]) -> str:
    """Markdown as HTML, for the body of a page; arguments as for `webpage`."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("js-default")  # tables, and no raw HTML
    parser.add_render_rule("table_open", lambda *_: f"{TABLE_OPEN}\n<table>\n")
    parser.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    tokens = parser.parse(markdown)
    for token in (child for block in tokens for child in block.children or []):
        if token.type == "image":
            token.attrs["src"] = f"data:image/png;base64,{encoded(pictures[str(token.attrs['src'])])}"
    body: str = parser.renderer.render(tokens, parser.options, {})
    return body


def encoded(picture: Path) -> str:
    """The contents of a file in Base64."""
    return base64.b64encode(picture.read_bytes()).decode()
