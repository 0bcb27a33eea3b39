"""What the pages of this project share: frame, looks, and the escaping of text of others."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render_page(package: str, template: str, **content: Any) -> str:
    """One page that needs no other file.

    Args:
        package: whose folder ``templates`` has the template; it extends ``page.html``.
        template: its name.
        content: what the template shows. Text is escaped, but for what passes the filter
            ``trusted``, which is for markup that this project has made.

    Returns:
        HTML.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("recbole_missrec")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["trusted"] = Markup
    return environment.get_template(template).render(**content)
