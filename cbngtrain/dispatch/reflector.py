"""
What is known of our pods: one list and one watch for all of them, kept up by a thread.

Events are hints. They are lost when a connection breaks, when the API forgets, and when it is
restarted; so after every end of a watch the pods are listed again, and who waits for a pod asks
now and then for that one besides.
"""

import logging
import threading
import time
from collections.abc import Callable

from cbngtrain.dispatch.cluster import Cluster, Json
from cbngtrain.errors import DispatchError, WatchExpired

log = logging.getLogger(__name__)

WATCHED = 240  # seconds that a watch is asked to last

_PAUSE = 1.0  # seconds after a watch that ended at once, so that no API is asked without end


class Reflector:
    """Our pods by name, as far as is known."""

    def __init__(self, cluster: Cluster, is_stopping: Callable[[], bool]) -> None:
        """
        Args:
            cluster: Where the pods are.
            is_stopping: Whether nobody wants to know any more.
        """
        self._cluster = cluster
        self._is_stopping = is_stopping
        self._pods: dict[str, Json] = {}
        self._changed = threading.Condition()
        self._is_started = False
        self._heard = time.monotonic()

    def start(self) -> None:
        """Begin to watch, once."""
        with self._changed:
            if self._is_started:
                return
            self._is_started = True
        self._list()
        threading.Thread(target=self._keep_up, name="pods", daemon=True).start()

    def pod(self, name: str) -> Json | None:
        """Return what is known of the pod of that name, if anything is."""
        with self._changed:
            return self._pods.get(name)

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after so many seconds."""
        with self._changed:
            self._changed.wait(seconds)

    def note(self, pod: Json) -> None:
        """Know *pod*, which was asked for or made just now, unless more is known already."""
        name = pod["metadata"]["name"]
        with self._changed:
            if not _is_older(pod, self._pods.get(name)):
                self._pods[name] = pod
                self._changed.notify_all()

    def forget(self, name: str) -> None:
        """Know that there is no pod of that name."""
        with self._changed:
            self._pods.pop(name, None)
            self._changed.notify_all()

    @property
    def deaf(self) -> float:
        """Seconds since the API was last heard."""
        return time.monotonic() - self._heard

    def _keep_up(self) -> None:
        """List and watch, for ever."""
        while not self._is_stopping():
            began = time.monotonic()
            try:
                self._watch(self._list())
            except WatchExpired as error:
                log.info("%s; listing the pods again", error)
            except DispatchError as error:
                log.warning("%s; trying again, pods go on meanwhile", error)
            time.sleep(max(_PAUSE - (time.monotonic() - began), 0.0))

    def _list(self) -> str:
        """List the pods; return the version of the list."""
        pods, version = self._cluster.pods()
        with self._changed:
            self._pods = {pod["metadata"]["name"]: pod for pod in pods}
            self._heard = time.monotonic()
            self._changed.notify_all()
        return version

    def _watch(self, version: str) -> None:
        """Take in what happens after *version*, until the watch ends."""
        for kind, pod in self._cluster.watch(version, WATCHED):
            self._heard = time.monotonic()
            if kind == "DELETED":
                self.forget(pod["metadata"]["name"])
            elif kind in {"ADDED", "MODIFIED"}:
                self.note(pod)
            if self._is_stopping():
                return
        self._heard = time.monotonic()
        log.debug("the watch ended; listing the pods again")


def _is_older(pod: Json, known: Json | None) -> bool:
    """Return whether *pod* is certainly an earlier state of what is *known*."""
    if known is None or known["metadata"]["uid"] != pod["metadata"]["uid"]:
        return False
    versions = [str(each["metadata"].get("resourceVersion", "")) for each in (pod, known)]
    return all(map(str.isdecimal, versions)) and int(versions[0]) < int(versions[1])
