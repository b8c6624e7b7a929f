"""Names in pictures: as they are where a font has them, numbered otherwise, and each told from the others."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import ft2font
from matplotlib.font_manager import fontManager

from vidpipe.pipeline.evaluation import drawn_names as module
from vidpipe.pipeline.evaluation.confusion_plot import save_confusion_matrix
from vidpipe.pipeline.evaluation.drawn_names import BASE_FONT, columns, drawn_names, drawn_title, shorten

# In no font that a machine of ours may have.
RARE = "\U00012000\U00012001"  # cuneiform
FAMILY = "Made Up Cuneiform"


def forget_fonts() -> None:
    module._families.cache_clear()
    module._characters.cache_clear()


@pytest.fixture
def font(tmp_path: Path) -> Iterator[str]:
    """Install a font of two characters, and return its family."""
    pen = TTGlyphPen(None)
    for point, move in (((0, 0), pen.moveTo), ((500, 700), pen.lineTo), ((1000, 0), pen.lineTo)):
        move(point)
    pen.closePath()
    builder, names = FontBuilder(1000, isTTF=True), [".notdef", "one", "two"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(RARE[0]): "one", ord(RARE[1]): "two"})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": FAMILY, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "made_up.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "made_up.ttf")
    forget_fonts()
    yield FAMILY
    fontManager.ttflist[:] = before
    fontManager._findfont_cached.cache_clear()
    forget_fonts()


@pytest.mark.parametrize("name", ["cost $5_{ & $6^x", "a_b\\frac{1}{2}", "$", "naïve café", "пнуть", "x^2_3%#~"])
def test_names_of_signs_and_letters_are_drawn_as_they_are(name: str) -> None:
    assert drawn_names([name]).shown == (name,)


@pytest.mark.parametrize(
    "name", [RARE, "x\x07", "\ud800", "\ue000", "line\u2028break", "👨\u200d👩\u200d👧", "🇩🇪", "👍🏽"]
)
def test_names_that_no_font_draws_are_numbered(name: str) -> None:
    found = drawn_names(["plain", name, "other"])
    assert found.shown == ("plain", "no. 2", "other")
    assert (found.numbered, found.fonts) == ((1,), (BASE_FONT,))


def test_a_font_of_the_machine_that_has_them_is_used(font: str) -> None:
    found = drawn_names(["plain", RARE])
    assert (found.shown, found.fonts, found.numbered) == (("plain", RARE), (BASE_FONT, font), ())
    assert drawn_title(f"set {RARE}") == (f"set {RARE}", (BASE_FONT, font))


def test_letters_from_right_to_left_are_drawn_only_where_matplotlib_orders_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_layout, names = hasattr(ft2font, "__libraqm_version__"), ["ריצה", "الجري", "run"]
    assert drawn_names(names).shown == (tuple(names) if has_layout else ("no. 1", "no. 2", "run"))
    monkeypatch.setattr(module, "_lays_out", lambda: False)
    assert drawn_names(names).shown == ("no. 1", "no. 2", "run")


def test_titles_have_a_box_for_what_cannot_be_drawn() -> None:
    assert drawn_title(f"on {RARE[0]}, $x\nn = 3") == ("on □, $x\nn = 3", (BASE_FONT,))


def test_long_names_keep_both_ends_and_can_be_told_apart() -> None:
    names = [f"a very long name that begins alike, version {i}" for i in (1, 2)]
    names += [
        "one long name that has a middle of its own and an end",
        "one long name that has another middle as its own and an end",
    ]
    shown = drawn_names(names).shown
    assert shown[0] == "a very long nam…e, version 1"
    assert len(set(shown)) == 4
    assert shown[2].startswith("3 ") and shown[3].startswith("4 ")


@given(st.text(st.sampled_from("ab 跑é\u0301😀"), max_size=60))
def test_shortened_names_fit(name: str) -> None:
    assert columns(shorten(name)) <= 28
    assert shorten(name) == name or "…" in shorten(name)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=40), max_size=6, unique=True))
def test_no_name_fails_or_is_confused_with_another(names: list[str]) -> None:
    found = drawn_names(names)
    assert len(found.shown) == len(names)
    plain = [own for place, own in enumerate(found.shown) if place not in found.numbered]
    assert len(set(plain)) == len(plain)


def test_a_matrix_of_any_names_is_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["cost $5_{ & $6^x", "跑步", "الجري", "jump 😀", RARE, "हिन्दी", "\\", "^", "_", "$$"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        title = f"on {RARE}: 5 $ % of $x_{{"
        save_confusion_matrix(np.eye(len(names), dtype=int), tmp_path / "c.png", classes=names, title=title)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
