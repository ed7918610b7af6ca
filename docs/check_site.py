"""Checks a built site: every link within it leads somewhere, and every function of the header has its entry.

usage: check_site.py SITE
"""
from __future__ import annotations

import html.parser
import pathlib
import re
import sys
from typing import List, Optional, Tuple
from urllib.parse import unquote, urlsplit


class Links(html.parser.HTMLParser):
    """Where a page leads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        """href and src."""
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def dead(site: pathlib.Path, page: pathlib.Path) -> List[str]:
    """The links of a page that lead nowhere within the site."""
    links = Links()
    links.feed(page.read_text(encoding="utf-8", errors="replace"))
    lost = []
    for link in links.found:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            continue
        target = (page.parent / unquote(parts.path)).resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            lost.append(f"{page.relative_to(site)}: {link}")
    return lost


def main(site: pathlib.Path) -> int:
    """The command line."""
    own = [p for p in site.rglob("*.html") if p.relative_to(site).parts[0] != "rust"]  # rustdoc checks its own
    lost = [complaint for page in own for complaint in dead(site, page)]
    header = (pathlib.Path(__file__).parent.parent / "include" / "capsa.h").read_text(encoding="utf-8")
    reference = (site / "c" / "capsa_8h.html").read_text(encoding="utf-8")
    functions = set(re.findall(r"\b(capsa_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    lost += [f"c/capsa_8h.html: no {name}" for name in sorted(functions) if f">{name}<" not in reference
             and f" {name}</a>" not in reference and f">{name} </td>" not in reference and name + "()" not in reference]
    for complaint in lost:
        print(f"docs: {complaint}")
    print(f"docs: {len(own)} pages, {len(functions)} functions of the header, {len(lost)} faults")
    return 1 if lost or not functions else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
