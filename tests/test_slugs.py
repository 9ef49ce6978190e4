"""Slugs that are made to look like those of others."""

import hashlib

from cbngtrain.plan import edit_sets
from cbngtrain.review import EditGroup


def test_name_that_spells_the_hash_of_another():
    """A name whose slug is what tells two others apart has a hash of its own."""
    spelt = f"foo {hashlib.sha256(b'foo').hexdigest()[:8]}"
    groups = [EditGroup(at, name, "Generic", None) for at, name in enumerate(["foo", "Foo", spelt])]

    found = [each.slug for each in edit_sets(groups, lambda group: f"file:{group.id}")]

    assert len(set(found)) == 3
    assert found[2].startswith(f"{found[0]}-")
