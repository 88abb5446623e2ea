"""The style sheets of a page: that of a framework or of the page's theme, and rules that both need."""

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
"""Names by which a browser finds the fonts of `themes.FACES`."""


def style_sheet(rng: np.random.Generator, theme: Theme, framework: Framework | None) -> list[str]:
    """Return the sheets in their order."""
    shared = _shared(rng, theme)
    if framework is None:
        return [shared, _own(rng, theme)]
    return [framework.css, shared, _sized(theme, framework)]


def _shared(rng: np.random.Generator, theme: Theme) -> str:
    """Rules for icons, switches and the position of dialogs; nothing scrolls or moves."""
    return f"""
*{{transition:none!important;animation:none!important}}
body{{overflow:hidden;{"font-style:italic;" if theme.italic > 0.1 else ""}}}
.slider{{display:inline-block;width:2.2em;height:1.2em;border-radius:1em;background:{_rgb(theme.line)};vertical-align:middle}}
.slider.on{{background:{_rgb(theme.primary)};text-align:right}}
.knob{{display:inline-block;width:1em;height:1em;margin:.1em;border-radius:1em;background:#fff}}
.sign{{display:inline-block;font:normal {round(theme.size * rng.uniform(1.2, 1.8))}px 'DejaVu Sans','Noto Color Emoji';
 padding:2px 4px}}
.framed{{border:{max(1, theme.border)}px solid {_rgb(theme.line)};border-radius:{theme.radius}px}}
.leaf{{display:inline-block}}
.veil{{position:fixed;inset:0;background:rgba(0,0,0,{rng.uniform(0.1, 0.6):.2f});z-index:1}}
dialog{{position:fixed!important;z-index:2;inset:0!important;margin:auto!important;width:fit-content!important;
 height:fit-content!important;min-width:45%;max-width:92%;max-height:96%}}
"""


def _sized(theme: Theme, framework: Framework) -> str:
    """Rules that give a framework the theme's font and size, and small gaps for a small viewport."""
    gap = round(theme.size * 0.4)
    tab = "" if "tab" in framework.classes else ".leaf{margin-right:.8em}"
    return f"""
html{{font-size:{theme.size / framework.base:.2f}px!important}}
body{{font-size:{theme.size}px!important;margin:0 auto!important;padding:{gap}px!important;display:block!important}}
*:not(.sign){{font-family:'{FONT_NAMES[theme.font]}'!important}}
p,h2,h3,h4,ul,.line,.strip{{margin-top:0!important;margin-bottom:{gap}px!important}}
{tab}
"""


def _own(rng: np.random.Generator, theme: Theme) -> str:
    """Our own style sheet of a theme."""
    on = _on(theme.primary)
    border = f"{theme.border}px solid {_rgb(theme.line)}"
    shadow = {
        "material": "box-shadow:0 1px 3px rgba(0,0,0,.5);",
        "heavy": "box-shadow:3px 3px 0 #000;",
        "soft": "box-shadow:0 1px 6px rgba(0,0,0,.15);",
    }.get(theme.family, "")
    if theme.family == "classic":
        shadow = "box-shadow:inset 1px 1px #fff,inset -1px -1px #808080;"
    if theme.family == "heavy":
        border = "3px solid #000"
    gap = round(theme.size * rng.uniform(0.2, 0.7))
    capitals = "text-transform:uppercase;" if theme.capitals else ""
    high = rng.uniform(0.15, 0.5)
    return f"""
*{{box-sizing:border-box}}
dialog{{background:{_rgb(theme.ground)};color:{_rgb(theme.ink)};border:{border};border-radius:{theme.radius}px;
 padding:{gap}px {gap + 4}px}}
body{{margin:0;background:{_rgb(theme.ground)};color:{_rgb(theme.ink)};font-family:'{FONT_NAMES[theme.font]}';font-size:{theme.size}px}}
.content{{padding:{gap}px {gap + 4}px}} .line,.leaves,p,h2,h3,h4,ul{{margin:0 0 {gap}px 0;padding:0}}
h2{{font-size:1.5em}} h3{{font-size:1.25em}} h4{{font-size:1.1em}}
.strip{{background:{_rgb(theme.primary)};color:{on};padding:{gap}px}} .strip a{{color:{on};margin-left:8px}}
a{{color:{_rgb(theme.link)};text-decoration:{"underline" if theme.underlined else "none"}}}
input,button,select{{font:inherit;color:inherit}}
input[type=text],input[type=password],select{{background:{_rgb(theme.panel)};border:{border};
 border-radius:{theme.radius}px;padding:{high}em {theme.pad}px;max-width:95%;width:{round(rng.uniform(45, 95))}%}}
select{{width:auto}} ::placeholder{{color:{_rgb(theme.faint)}}}
.press{{background:{_rgb(theme.panel)};border:{border};border-radius:{theme.radius}px;{capitals}
 padding:{high}em {max(3, theme.pad)}px;{shadow}margin:0 3px 3px 0}}
.main-button{{background:{_rgb(theme.primary)};color:{on}}}
.leaves{{border-bottom:1px solid {_rgb(theme.line)}}} .leaf{{color:inherit;text-decoration:none;padding:{high}em {theme.pad}px}}
.chosen{{border-bottom:2px solid {_rgb(theme.primary)};font-weight:bold}}
.choices{{list-style:none;border:{border};background:{_rgb(theme.panel)};width:fit-content;border-radius:{theme.radius}px}}
.choices li{{padding:{high}em {theme.pad + 6}px}}
"""


def _rgb(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _on(colour: Rgb) -> str:
    """Return black or white, whichever has more contrast to a colour."""
    return "#111" if is_light(colour) else "#fff"
