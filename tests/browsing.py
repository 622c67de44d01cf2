"""Pages in a real browser: Debian's Chromium, headless, which finds no host but this machine."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

WAYS = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
    "paper": {"viewport": {"width": 718, "height": 1000}},  # A4 without margins
}
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include><dir>{}</dir></fontconfig>"""
_NOT_DRAWN = """async given => {
    await document.fonts.ready;
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", {willReadFrequently: true});
    canvas.width = canvas.height = 48;
    const family = getComputedStyle(document.body).fontFamily;
    const picture = character => {
        pen.clearRect(0, 0, 48, 48);
        pen.font = `40px ${family}`;
        pen.fillText(character, 2, 42);
        return canvas.toDataURL();
    };
    await document.fonts.load(`40px ${family}`, "あ");
    const others = ["\\uf8f0", " "].map(picture);  // a box, where no font has a character, and nothing
    const japanese = character => "\\u3041" <= character && character <= "\\u9fff";
    const shown = given ?? [...new Set(document.body.innerText)].filter(japanese).slice(0, 200).join("");
    return {shown, missing: [...shown].filter(each => others.includes(picture(each)))};
}"""
_JAPANESE = """() => [...document.querySelectorAll("body *")]
    .filter(each => !each.children.length && /[\\u3041-\\u9fff]/.test(each.textContent) && each.offsetWidth)
    .map(each => { each.dataset.japanese = ""; return each.textContent; })"""
_LACKS = """family => {
    const pen = document.createElement("canvas").getContext("2d");
    const width = character => { pen.font = `40px "${family}"`; return pen.measureText(character).width; };
    return width("あ") === width("\\uf8f0") && width("京") === width("\\uf8f0");
}"""
_CUT = """() => [...document.querySelectorAll("body *")]
    .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX !== "visible")
    .map(each => each.outerHTML.slice(0, 120))"""


@contextmanager
def chromium(folder=None):
    """The browser; with a `folder` for its configuration, also with a Japanese font."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Debian's chromium is not installed")
    from playwright.sync_api import sync_playwright

    environment = dict(os.environ)
    if folder:
        import matplotlib_fontja

        fonts = Path(matplotlib_fontja.__file__).parent / "fonts"
        (folder / "fonts.conf").write_text(_FONTS.format(fonts), encoding="utf-8")
        environment["FONTCONFIG_FILE"] = str(folder / "fonts.conf")
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        # As root, which containers are, Chromium starts only without its sandbox.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", rules], env=environment
        )
        yield browser
        browser.close()


@contextmanager
def view(browser, url, way="light", known=()):
    """A page as it is looked at; at the end, no error but those `known` was said, and no other host asked."""
    context = browser.new_context(**WAYS[way])
    page = context.new_page()
    page.set_default_timeout(60_000)
    if way == "paper":
        page.emulate_media(media="print")
    said, asked = [], []
    page.on("console", lambda message: said.append(_told(message)) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    context.close()
    errors = [each for each in said if not any(part in each for part in known)]
    assert errors == [], f"{url}: {errors}"
    here = urlsplit(url).netloc
    away = [each for each in asked if urlsplit(each).scheme not in ("data", "blob", "about")]
    away = [each for each in away if urlsplit(each).netloc != here]
    assert away == [], f"{url}: {away}"


def _told(message):
    return f"{message.text} {message.location['url']}"


def drawn(page):
    """The Japanese characters of a page, up to 200, and those of them that no font of the page has."""
    found = page.evaluate(_NOT_DRAWN, None)
    return found["shown"], "".join(found["missing"])


def boxes(page):
    """Texts with Japanese that are drawn with a font without it; `drawn` asks the fonts, this the page."""
    texts = page.evaluate(_JAPANESE)
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    asked = {"nodeId": root, "selector": "[data-japanese]"}
    found = []
    for node, text in zip(session.send("DOM.querySelectorAll", asked)["nodeIds"], texts, strict=True):
        fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        latin = [font for font in fonts if not font["isCustomFont"] and _lacks_japanese(page, font)]
        others = sum(not "\u3041" <= each <= "\u9fff" for each in text)
        if sum(int(font["glyphCount"]) for font in latin) > others:
            found.append(text)
    return found


def _lacks_japanese(page, font):
    return page.evaluate(_LACKS, font["familyName"])


def missing_of(page, text):
    """The characters of a text that no font of the page has."""
    return "".join(page.evaluate(_NOT_DRAWN, text)["missing"])


def width_of(page):
    """Of the page, in CSS pixels; what is wider than the window is read by scrolling sideways."""
    return page.evaluate("document.documentElement.scrollWidth")


def cut(page):
    """The elements of which a part can be reached by scrolling only, which paper does not do."""
    return page.evaluate(_CUT)


def faults(page):
    """What axe-core finds serious or critical: the rule, the first element and why."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:150]}: {json.dumps(each['nodes'][0]['any'][:1])[:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
