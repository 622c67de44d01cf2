"""The Japanese characters of a page, cut out of a font."""

import base64
import io
from pathlib import Path

_BEYOND = 0x2000  # what comes before is in any font


def font_face(text: str) -> str:
    """CSS that brings the Japanese characters of a text along, for a machine that has no font with them.

    They are a subset of IPAex Gothic, whose licence allows to embed it in documents. A page names the font
    before `system-ui`: behind that, Chromium 150 keeps the boxes that it drew before it had read the font.
    """
    characters = {ord(character) for character in text if ord(character) >= _BEYOND}
    if not characters:
        return ""
    import matplotlib_fontja
    from fontTools import subset

    options = subset.Options(flavor="woff", layout_features=[], hinting=False)
    path, file = Path(matplotlib_fontja.__file__).parent / "fonts" / "ipaexg.ttf", io.BytesIO()
    with subset.load_font(str(path), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=characters)
        subsetter.subset(font)
        subset.save_font(font, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    source = f"unicode-range: U+{_BEYOND:X}-10FFFF; src: url(data:font/woff;base64,{data});"
    return f'@font-face {{ font-family: "of this page"; {source} }}\n'
