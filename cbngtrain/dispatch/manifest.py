"""
Step → the pod that runs it. Pure.

A pod is named after what it makes, so two builds, or two edit sets with the same bytes, that want
the same thing meet in one pod. It owes nothing to the process that made it, and outlives it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cbngtrain.image import Image
from cbngtrain.step import Fingerprint, Step

PART_OF = {"app.kubernetes.io/part-of": "cbngtrain"}
"""The label of all our pods, and of nobody else's."""

SELECTOR = "app.kubernetes.io/part-of=cbngtrain"

COMPONENT = "app.kubernetes.io/component"  # label: the recipe's name
FINGERPRINT = "cbngtrain/fingerprint"  # annotation
EDIT_SET = "cbngtrain/edit-set"  # annotation: the slug

CONTAINER = "step"
TERMINATION = "/dev/termination-log"  # Kubernetes' own default

TOKEN = {  # Toolforge's way to keep an environment variable: toolforge.envvar.v1.<lower-kebab>
    "name": "FILE_API_KEY",
    "valueFrom": {
        "secretKeyRef": {"name": "toolforge.envvar.v1.file-api-key", "key": "FILE_API_KEY"}
    },
}

GRACE = 15  # seconds between asking a pod to stop and killing it: Toolforge's
TRANSFER = 1800  # seconds for a pod's image, its inputs and its outputs, besides its command

_NAMED_BY = 20  # digits of the fingerprint; 80 bits, and a look at the annotation besides


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """
    What a pod takes of the cluster, or what is left there.

    Attributes:
        memory: In MiB.
        cpu: In thousandths of a core.
        pods: How many.
    """

    memory: int
    cpu: int
    pods: int = 1


LEAST = Room(memory=100, cpu=50)
"""What a container on Toolforge must ask for at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """
    What a pod's container is.

    Attributes:
        image: By digest.
        script: What bash runs.
        workspace: Where an empty directory is needed for it; or empty.
        seconds: After which the whole pod is stopped.
    """

    image: Image
    script: str
    workspace: str
    seconds: int


def pod_name(step: Step, key: Fingerprint) -> str:
    """Return the name of the pod that runs *step* as *key*."""
    return f"cbng-{step.recipe.name.replace('_', '-')}-{key[:_NAMED_BY]}"


def manifest(step: Step, key: Fingerprint, shell: Shell, room: Room) -> dict[str, Any]:
    """Return the pod that runs *step* as *key*."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(step, key),
            "labels": {
                **PART_OF,
                COMPONENT: step.recipe.name,
                "toolforge": "tool",
                "toolforge.org/mount-storage": "none",  # the default is all of NFS
            },
            "annotations": {FINGERPRINT: key, EDIT_SET: step.slug},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": shell.seconds,
            "terminationGracePeriodSeconds": GRACE,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(shell, room)],
            **({"volumes": [{"name": "workspace", "emptyDir": {}}]} if shell.workspace else {}),
        },
    }


def _container(shell: Shell, room: Room) -> dict[str, Any]:
    """Return the one container of a pod."""
    memory = f"{room.memory}Mi"
    mounts = [{"name": "workspace", "mountPath": shell.workspace}] if shell.workspace else []
    return {
        "name": CONTAINER,
        "image": shell.image.pinned,
        "imagePullPolicy": "IfNotPresent",  # it is pinned
        "command": ["bash", "-c", shell.script],
        "env": [TOKEN, {"name": "CBNG_TERMINATION_LOG", "value": TERMINATION}],
        "resources": {
            "limits": {"cpu": f"{room.cpu}m", "memory": memory},
            # Half the CPU, as Toolforge's own jobs ask for: steps wait for the network, too.
            "requests": {
                "cpu": f"{max(room.cpu // 2, min(room.cpu, LEAST.cpu))}m",
                "memory": memory,
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION,
        "terminationMessagePolicy": "File",
        **({"volumeMounts": mounts} if mounts else {}),
    }


def fingerprint_of_pod(pod: Mapping[str, Any]) -> str:
    """Return the fingerprint that a pod works for, or nothing."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(FINGERPRINT, ""))
