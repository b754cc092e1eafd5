import io

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont


def call() -> object:
    """Make a font with a glyph in memory, and read it."""
    pen, file = TTGlyphPen(None), io.BytesIO()
    pen.moveTo((0, 0))
    for point in ((500, 0), (500, 700)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "A"])
    builder.setupCharacterMap({65: "A"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "A": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "A": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test"})
    builder.setupOS2()
    builder.setupPost()
    builder.font.save(file)
    font = TTFont(io.BytesIO(file.getvalue()))
    return font.getBestCmap(), font["hmtx"]["A"], font["glyf"]["A"].xMax, str(font["name"].getBestFamilyName())
