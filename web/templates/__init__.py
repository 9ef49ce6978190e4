"""The pages' templates, and how they are filled."""

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(name: str, **values: object) -> str:
    """Return the template *name* filled with *values*, escaped."""
    return _ENVIRONMENT.get_template(name).render(**values)
