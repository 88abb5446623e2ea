"""Which font files this machine has, those with many scripts first."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

_WIDE = (
    "NotoSans-Regular", "DejaVuSans", "NotoSansCJK-Regular", "NotoSansCJKsc-Regular", "SourceHanSans-Regular",
    "arialuni", "Arial Unicode", "FreeSans", "FreeSerif", "DroidSansFallbackFull", "DroidSansFallback", "wqy-zenhei",
    "wqy-microhei", "PingFang", "Hiragino Sans GB", "AppleSDGothicNeo", "msyh", "YuGothM", "malgun", "Nirmala", "seguisym",
    "seguiemj",    "NotoSansDevanagari-Regular", "NotoSansArabic-Regular", "NotoSansHebrew-Regular", "NotoSansThai-Regular",
    "NotoEmoji-Regular",    "Symbola", "unifont",
)  # fmt: skip
"""Tried first, in this order; then all others, plain styles before bold and slanted ones."""

_STYLES = ("bold", "italic", "oblique", "black", "light", "thin", "condensed", "narrow", "mono")

_MOST_FILES = 3000
"""No more are looked at: a folder of fonts may be a link to anything."""


@functools.lru_cache(maxsize=1)
def installed_fonts() -> tuple[Path, ...]:
    """Return the TrueType and OpenType files in this system's font folders, the preferred ones first."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for place, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith((".ttf", ".otf", ".ttc")):
                    found.setdefault(name, Path(place, name))
            if len(found) > _MOST_FILES:
                break
    return tuple(sorted(found.values(), key=_rank))


def _rank(path: Path) -> tuple[int, int, str]:
    stem = path.stem
    wide = _WIDE.index(stem) if stem in _WIDE else len(_WIDE)
    return wide, sum(style in stem.lower() for style in _STYLES), stem


def _folders() -> list[Path]:
    if sys.platform == "win32":
        windows = Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")
        return [windows, Path(os.environ.get("LOCALAPPDATA", ""), "Microsoft", "Windows", "Fonts")]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), *_of_user("Library/Fonts")]
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [Path(part, "fonts") for part in shared.split(":") if part]
    return [*folders, *_of_user(".local/share/fonts"), *_of_user(".fonts")]


def _of_user(name: str) -> list[Path]:
    try:
        return [Path.home() / name]
    except RuntimeError:  # a user without a home
        return []
