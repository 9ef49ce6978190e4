"""Names of container images."""

import pytest

from cbngtrain.image import Image

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("a.example/b", Image("a.example", "b", "latest", "")),
        ("a.example:5000/b/c-d:v1", Image("a.example:5000", "b/c-d", "v1", "")),
        ("localhost:5000/b:v1", Image("localhost:5000", "b", "v1", "")),
        (f"a.example/b@{SHA}", Image("a.example", "b", "", SHA)),
        (f"a.example/b:v1@{SHA}", Image("a.example", "b", "v1", SHA)),
        (
            "tools-harbor.wmcloud.org/tool-cluebotng/core:latest",
            Image("tools-harbor.wmcloud.org", "tool-cluebotng/core", "latest", ""),
        ),
    ],
)
def test_image_is_parsed(text: str, image: Image):
    """Registry, name, tag and digest; without either of the last two, the tag is latest."""
    assert Image.parse(text) == image
    assert Image.parse(str(image)) == image


@pytest.mark.parametrize(
    "text",
    ["", "core", "core:latest", "library/core", "a.example/", "a.example/B", "a.example/b:",
     "a.example/b:v 1", "a.example/b@sha256:12", "a.example/b@md5:" + "a" * 64, "a.example/../b",
     "a.example/b\n", "a.example/b;c", "https://a.example/b", "a.example/" + "b" * 600],
)  # fmt: skip
def test_what_is_no_image_is_refused(text: str):
    """A name without a registry, with shell characters, or of another grammar."""
    with pytest.raises(ValueError, match="an image, registry/name:tag"):
        Image.parse(text)


def test_pinned_name_does_not_know_the_tag():
    """Two tags of one image are one image."""
    one, other = Image.parse("a.example/b:v1").at(SHA), Image.parse("a.example/b:v2").at(SHA)

    assert one.pinned == other.pinned == f"a.example/b@{SHA}"
