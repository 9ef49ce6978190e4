"""The command in a pod's script: every way in which it ends, and what is told of its outputs."""

import signal

import pytest

from cbngtrain.recipes import RECIPES
from cbngtrain.step import Leaf, Recipe
from tests.conftest import processes_in, wait_until
from tests.dispatch.places import STEP, WELL, Pod, failed, step_of

pytestmark = pytest.mark.slow  # each runs a step to its end


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo first; echo ' the reason ' >&2; exit 3", (82, 3, "exit code 3: the reason")),
        ("exit 1", (82, 1, "exit code 1")),
        ("kill -SEGV $$", (82, 139, "exit code 139")),
        ("kill -9 $$", (137, 137, "exit code 137: killed, for want of memory perhaps")),
        ("exit 124", (124, 124, "no end after 60 s, when it was stopped")),
        (r"""printf 'a \\ \047 " \x01 \xc3\xa9 b\n\n'; exit 9""",
         (82, 9, r"""exit code 9: a \ ' "      b""")),
    ],
    ids=["exit", "silent", "signal", "killed", "124", "odd text"],
)  # fmt: skip
def test_command_that_fails(pod: Pod, text: str, told: tuple[int, int, str]):
    """How the command ended is told with its last line; the log is kept, a record is not."""
    pod.program("cluebotng", text)

    ended = pod.run(STEP)

    assert (ended.code, ended.told["exit"], ended.told["problem"]) == told
    assert pod.store.missing([ended.told["log"]]) == set()
    assert pod.record(STEP) is None


def test_program_that_is_not_there(pod: Pod):
    """An image without the program: 82, with what timeout says of it."""
    ended = pod.run(STEP)

    assert failed(ended) == (82, 127)
    assert "No such file" in ended.told["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "sleep 100",
        pytest.param("trap '' TERM; sleep 100 & wait; sleep 100", marks=pytest.mark.slow),
    ],
)
def test_command_without_end(pod: Pod, text: str):
    """A command that is out of time: 124, also where it has to be killed; nothing stays behind."""
    pod.program("cluebotng", f"echo begun\n{text}")
    script = pod.script(STEP, timeout=1).replace("--kill-after=10", "--kill-after=1")

    ended = pod.ended(pod.start(script))

    assert failed(ended) == (124, 124)
    assert pod.blob(ended.told["log"]).startswith(b"begun\n")
    assert processes_in(pod.workspace) == []


def test_children_of_the_command_do_not_stay(pod: Pod):
    """What a command started and left running ends with it, and holds nothing up."""
    pod.program("cluebotng", f"sleep 1000 &\n{WELL}")

    assert pod.run(STEP).code == 0
    assert processes_in(pod.workspace) == []


def test_child_with_a_session_of_its_own_holds_nothing_up(pod: Pod):
    """What has left the command's process group may keep the log open: it is not waited for."""
    pod.program("cluebotng", f"setsid sleep 20 &\n{WELL}")
    script = pod.script(STEP).replace("--foreground 10 ", "--foreground 1 ")

    ended = pod.ended(pod.start(script))

    assert ended.code == 0
    assert pod.blob(ended.told["log"]) == b"done\n"


def test_command_that_prints_much(pod: Pod):
    """A log of 100 MB is kept whole, and its last line tells what was wrong."""
    pod.program("cluebotng", "yes 'as ever' | head -c 100000000; echo; echo 'the reason'; exit 3")

    ended = pod.run(STEP)

    assert ended.told["problem"] == "exit code 3: the reason"
    assert len(pod.blob(ended.told["log"])) == 100_000_000 + len("\nthe reason\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("true", "data/main_bayes_train.dat: the command did not leave it"),
        (f"{WELL}; : >data/two_bayes_train.dat", "data/two_bayes_train.dat: is empty"),
        (f"{WELL}; rm data/two_bayes_train.dat; mkdir data/two_bayes_train.dat",
         "data/two_bayes_train.dat: the command did not leave it"),
    ],
    ids=["nothing", "empty", "directory"],
)  # fmt: skip
def test_bad_output(pod: Pod, text: str, told: str):
    """A check that fails: 83, although the command said that all is well; the log is kept."""
    pod.program("cluebotng", text)

    ended = pod.run(STEP)

    assert failed(ended) == (83, 0)
    assert ended.told["problem"] == f"exit code 0 but a bad output: {told}"
    assert pod.store.missing([ended.told["log"]]) == set()
    assert pod.record(STEP) is None


CHECKED = [(each, leaf) for each in RECIPES if each.program == "core" for leaf in each.leaves]


@pytest.mark.parametrize(("of", "leaf"), CHECKED, ids=lambda of: getattr(of, "artifact", ""))
def test_every_leaf_is_checked(pod: Pod, of: Recipe, leaf: Leaf):
    """An output of nonsense is refused, whichever it is."""
    others = "; ".join(f"echo nonsense >{each.path}" for each in of.leaves)
    step = step_of(Recipe(name=of.name, doc="", command=("any",), reads=of.reads, leaves=(leaf,)))
    pod.program("any", others)
    pod.program("print_bayes_db", "exit 1")

    assert failed(pod.run(step)) == (83, 0)


def test_sigterm_while_the_command_runs(pod: Pod):
    """A script that is told to stop does so at once, with all that it started."""
    pod.program("cluebotng", f"touch {pod.path}/begun; sleep 1000 & sleep 1000")
    process = pod.start(pod.script(STEP))
    wait_until((pod.path / "begun").exists)

    process.send_signal(signal.SIGTERM)
    ended = pod.ended(process)

    assert failed(ended) == (143, None)
    wait_until(lambda: processes_in(pod.workspace) == [])
    assert [path for path in pod.path.iterdir() if path.name.startswith("tmp.")] == []


def test_script_that_is_killed_in_its_middle(pod: Pod):
    """Where the kernel kills the script's own work, that is told like a killed command."""
    pod.program("cluebotng", "kill -9 $(ps -o ppid= $PPID)")

    ended = pod.run(STEP)

    assert failed(ended) == (137, None)
