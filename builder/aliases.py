"""Every alias of a page is an address too: `glossary/kl-divergence.html` leads to the term that has that name."""

from __future__ import annotations

import re
import unicodedata

from .load import Catalogue


def slug_of(name: str) -> str:
    """A name as the last part of an address; empty if it has no Latin letter or digit."""
    ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_.lower()).strip("-")[:80].rstrip("-")


def redirects(catalogue: Catalogue) -> dict[str, str]:
    """Alias's address → page, both as paths. `check` refuses an alias of two pages; here the first by slug has it."""
    out: dict[str, str] = {}
    for folder, models in (("patterns", catalogue.patterns), ("glossary", catalogue.terms)):
        taken = {"", "index", *models}
        for slug, model in sorted(models.items()):
            for name in map(slug_of, model.aliases):
                if name not in taken:
                    out.setdefault(f"{folder}/{name}.html", f"{folder}/{slug}.md")
    return out
