"""The style sheets of a page: a framework's, or one of ours for the page's family; and what both need to hold together."""

from __future__ import annotations

import numpy as np

from molmo_point.synthetic.pages.frameworks import Framework
from molmo_point.synthetic.pages.themes import Rgb, Theme, is_light

FONT_NAMES = {
    "DejaVuSans": "DejaVu Sans",
    "DejaVuSansMono": "DejaVu Sans Mono",
    "DejaVuSansCondensed": "DejaVu Sans Condensed",
    "DejaVuSerif": "DejaVu Serif",
    "LiberationSans": "Liberation Sans",
    "LiberationSerif": "Liberation Serif",
    "LiberationMono": "Liberation Mono",
    "LiberationSansNarrow": "Liberation Sans Narrow",
}
"""Names by which a browser finds the fonts of `looks.FACES`."""


def style_sheet(rng: np.random.Generator, look: Theme, framework: Framework | None) -> list[str]:
    """Return the sheets in their order."""
    shared = _shared(rng, look)
    if framework is None:
        return [shared, _own(rng, look)]
    return [framework.css, shared, _sized(look, framework)]


def _shared(rng: np.random.Generator, look: Theme) -> str:
    """What no framework knows: icons, switches, where a dialog is, and that nothing scrolls or moves."""
    return f"""
*{{transition:none!important;animation:none!important}}
body{{overflow:hidden;{"font-style:italic;" if look.italic > 0.1 else ""}}}
.slider{{display:inline-block;width:2.2em;height:1.2em;border-radius:1em;background:{_rgb(look.line)};vertical-align:middle}}
.slider.on{{background:{_rgb(look.primary)};text-align:right}}
.knob{{display:inline-block;width:1em;height:1em;margin:.1em;border-radius:1em;background:#fff}}
.sign{{display:inline-block;font:normal {round(look.size * rng.uniform(1.2, 1.8))}px 'DejaVu Sans','Noto Color Emoji';
 padding:2px 4px}}
.framed{{border:{max(1, look.border)}px solid {_rgb(look.line)};border-radius:{look.radius}px}}
.leaf{{display:inline-block}}
.veil{{position:fixed;inset:0;background:rgba(0,0,0,{rng.uniform(0.1, 0.6):.2f});z-index:1}}
dialog{{position:fixed!important;z-index:2;inset:0!important;margin:auto!important;width:fit-content!important;
 height:fit-content!important;min-width:45%;max-width:92%;max-height:96%}}
"""


def _sized(look: Theme, framework: Framework) -> str:
    """A framework's page in the font and size that was drawn, and tight enough for a small viewport."""
    gap = round(look.size * 0.4)
    tab = "" if "tab" in framework.classes else ".leaf{margin-right:.8em}"
    return f"""
html{{font-size:{look.size / framework.base:.2f}px!important}}
body{{font-size:{look.size}px!important;margin:0 auto!important;padding:{gap}px!important;display:block!important}}
*:not(.sign){{font-family:'{FONT_NAMES[look.font]}'!important}}
p,h2,h3,h4,ul,.line,.strip{{margin-top:0!important;margin-bottom:{gap}px!important}}
{tab}
"""


def _own(rng: np.random.Generator, look: Theme) -> str:
    """The family's style sheet, written by us: what it stands for is only alike."""
    on = _on(look.primary)
    border = f"{look.border}px solid {_rgb(look.line)}"
    shadow = {
        "material": "box-shadow:0 1px 3px rgba(0,0,0,.5);",
        "heavy": "box-shadow:3px 3px 0 #000;",
        "soft": "box-shadow:0 1px 6px rgba(0,0,0,.15);",
    }.get(look.family, "")
    if look.family == "classic":
        shadow = "box-shadow:inset 1px 1px #fff,inset -1px -1px #808080;"
    if look.family == "heavy":
        border = "3px solid #000"
    gap = round(look.size * rng.uniform(0.2, 0.7))
    capitals = "text-transform:uppercase;" if look.capitals else ""
    high = rng.uniform(0.15, 0.5)
    return f"""
*{{box-sizing:border-box}}
dialog{{background:{_rgb(look.ground)};color:{_rgb(look.ink)};border:{border};border-radius:{look.radius}px;
 padding:{gap}px {gap + 4}px}}
body{{margin:0;background:{_rgb(look.ground)};color:{_rgb(look.ink)};font-family:'{FONT_NAMES[look.font]}';font-size:{look.size}px}}
.content{{padding:{gap}px {gap + 4}px}} .line,.leaves,p,h2,h3,h4,ul{{margin:0 0 {gap}px 0;padding:0}}
h2{{font-size:1.5em}} h3{{font-size:1.25em}} h4{{font-size:1.1em}}
.strip{{background:{_rgb(look.primary)};color:{on};padding:{gap}px}} .strip a{{color:{on};margin-left:8px}}
a{{color:{_rgb(look.link)};text-decoration:{"underline" if look.underlined else "none"}}}
input,button,select{{font:inherit;color:inherit}}
input[type=text],input[type=password],select{{background:{_rgb(look.panel)};border:{border};
 border-radius:{look.radius}px;padding:{high}em {look.pad}px;max-width:95%;width:{round(rng.uniform(45, 95))}%}}
select{{width:auto}} ::placeholder{{color:{_rgb(look.faint)}}}
.press{{background:{_rgb(look.panel)};border:{border};border-radius:{look.radius}px;{capitals}
 padding:{high}em {max(3, look.pad)}px;{shadow}margin:0 3px 3px 0}}
.main-button{{background:{_rgb(look.primary)};color:{on}}}
.leaves{{border-bottom:1px solid {_rgb(look.line)}}} .leaf{{color:inherit;text-decoration:none;padding:{high}em {look.pad}px}}
.chosen{{border-bottom:2px solid {_rgb(look.primary)};font-weight:bold}}
.choices{{list-style:none;border:{border};background:{_rgb(look.panel)};width:fit-content;border-radius:{look.radius}px}}
.choices li{{padding:{high}em {look.pad + 6}px}}
"""


def _rgb(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _on(colour: Rgb) -> str:
    """Black or white, whichever can be read on a colour."""
    return "#111" if is_light(colour) else "#fff"
