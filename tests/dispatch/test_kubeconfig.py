"""A kubeconfig that is none."""

from pathlib import Path

import pytest

from cbngtrain.dispatch.cluster import Cluster
from cbngtrain.errors import SettingsError


@pytest.mark.parametrize(
    "text",
    [
        "nonsense: [",
        "",
        "5",
        "[]",
        "{}",
        "\0",
        "current-context: a\ncontexts: 5\nclusters: []\nusers: []\n",
        "current-context: a\ncontexts: [{name: a, context: 5}]\nclusters: []\nusers: []\n",
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
            "clusters: [{name: a, cluster: {server: 5}}]\nusers: [{name: a, user: [1]}]\n"
        ),
    ],
)
def test_kubeconfig_that_is_none_is_told_in_a_line(tmp_path: Path, text: str):
    """Whatever the client makes of it, the line names the file and what to set."""
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError) as caught:
        Cluster(str(path), "")

    told = str(caught.value)
    assert told.startswith(f"KUBECONFIG={str(path)!r}: ")
    assert told.endswith("; set KUBECONFIG to the file that says how the cluster is reached")
    assert "\n" not in told
