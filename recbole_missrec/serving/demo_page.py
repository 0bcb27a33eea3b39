"""The page of the service: one file, its script and looks within."""

import base64
from hashlib import sha256
from importlib.resources import files

from recbole_missrec.pages import render_page


def render_demo(names: list[str]) -> str:
    """The page as HTML.

    Args:
        names: of the models, one or two.
    """
    folder = files("recbole_missrec.serving") / "templates"
    script = (folder / "demo.js").read_text(encoding="utf-8")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    return render_page(
        "recbole_missrec.serving",
        "demo.html",
        names=names,
        script=script,
        script_hash=f"sha256-{digest}",
    )
