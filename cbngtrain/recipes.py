"""
What training is: one table, every number with its unit and origin.

A row can be read alone. A file that is not in ``reads`` is not there when the command runs, so a
forgotten input fails at once. To add a step, add a row; what reads its artifacts comes after it.
"""

from dataclasses import replace

from cbngtrain.step import Leaf, Recipe, Resources

# What steps may use. The engine needs 60 to 85 MB for cluebotng's chains and 40 MB for create_ann
# on 400 edits, and 30 MB for create_bayes_db on the bot's own 14,110; the native core runs 16
# threads, for which Toolforge's default of 512 MiB is too little on big sets. No container on
# Toolforge may have more than one CPU. Two hours is what a training was given before.
_READS_EDITS = Resources(memory=1024, cpu=1, seconds=7200)
_MAKES_DATABASE = Resources(memory=512, cpu=0.5, seconds=1800)
_TRAINS = Resources(memory=768, cpu=1, seconds=7200)
_EVALUATES = Resources(memory=1024, cpu=1, seconds=1800)  # 100,000 edits: 20 s and 1 GB at most

BAYES_TRAIN = Recipe(
    name="bayes_train",
    doc="words and word pairs of the training edits",
    command=("cluebotng", "-c", "conf", "-m", "bayes_train", "-f", "edits.xml"),
    reads={"edits.xml": "train.xml"},
    leaves=(
        Leaf("data/main_bayes_train.dat", "main_bayes_train.dat", "lines", "bayes-words"),
        Leaf("data/two_bayes_train.dat", "two_bayes_train.dat", "lines", "bayes-words"),
    ),
    reads_conf=True,
    resources=_READS_EDITS,
)

BAYES_DB = Recipe(
    name="bayes_db",
    doc="database of words",
    command=("create_bayes_db", "data/bayes.db", "data/main_bayes_train.dat"),
    reads={"data/main_bayes_train.dat": "main_bayes_train.dat"},
    leaves=(Leaf("data/bayes.db", "bayes.db", "bayes-db", "bayes-db"),),
    resources=_MAKES_DATABASE,
)

TWO_BAYES_DB = Recipe(
    name="two_bayes_db",
    doc="database of word pairs",
    command=("create_bayes_db", "data/two_bayes.db", "data/two_bayes_train.dat"),
    reads={"data/two_bayes_train.dat": "two_bayes_train.dat"},
    leaves=(Leaf("data/two_bayes.db", "two_bayes.db", "bayes-db", "bayes-db"),),
    resources=_MAKES_DATABASE,
)

ANN_TRAIN = Recipe(
    name="ann_train",
    doc="features of the training edits",
    command=("cluebotng", "-c", "conf", "-m", "ann_train", "-f", "edits.xml"),
    reads={
        "edits.xml": "train.xml",
        "data/bayes.db": "bayes.db",
        "data/two_bayes.db": "two_bayes.db",
    },
    leaves=(Leaf("data/main_ann_train.dat", "main_ann_train.dat", "rows", "ann-rows"),),
    reads_conf=True,
    resources=_READS_EDITS,
)

ANN = Recipe(
    name="ann",
    doc="neural network",
    command=(
        "create_ann",
        "data/main_ann.fann",
        "data/main_ann_train.dat",
        "{max_epochs}",
        "{desired_error}",
        "{hidden_neurons}",
    ),
    reads={"data/main_ann_train.dat": "main_ann_train.dat"},
    leaves=(Leaf("data/main_ann.fann", "main_ann.fann", "raw", "network"),),
    parameters={  # cluebotng/trainer: "create_ann … 150 0.037 100"
        "max_epochs": 150,
        "desired_error": 0.037,  # mean squared error at which training ends
        "hidden_neurons": 100,
        "seed": 1,  # of the start weights; CBNG_SEED replaces it
    },
    resources=_TRAINS,
)

TRIAL = Recipe(
    name="trial",
    doc="scores of the trial edits, and what they catch",
    command=("cluebotng", "-c", "conf", "-m", "trial_run", "-f", "edits.xml"),
    reads={
        "edits.xml": "trial.xml",
        "data/bayes.db": "bayes.db",
        "data/two_bayes.db": "two_bayes.db",
        "data/main_ann.fann": "main_ann.fann",
    },
    leaves=(
        Leaf("trialreport/report.txt", "trial/report.txt", "raw", "trial-report"),
        Leaf("trialreport/thresholdtable.txt", "trial/thresholdtable.txt", "raw", "table"),
        Leaf("trialreport/details.txt", "trial/details.txt", "lines", "trial-details"),
        Leaf("trialreport/falsepositives.txt", "trial/falsepositives.txt", "lines", "table"),
        Leaf("trialreport/falsenegatives.txt", "trial/falsenegatives.txt", "lines", "table"),
        Leaf("trialreport/debug.xml", "trial/debug.xml", "raw", "edit-set"),
    ),
    reads_conf=True,
    resources=_READS_EDITS,
)

PLOTS = ("falsepositives", "thresholds", "roc", "precision-recall", "scores", "calibration")


def _plots(prefix: str = "") -> tuple[Leaf, ...]:
    """Return every plot, as PNG and as SVG; *prefix* begins their names."""
    paths = [(f"trial/{prefix}{name}.{kind}", kind) for name in PLOTS for kind in ("png", "svg")]
    return tuple(Leaf(path, path, "raw", kind) for path, kind in paths)


REPORT = Recipe(
    name="report",
    doc="figures and plots of the trial",
    command=(
        "report",
        "--edit-set={edit_set}",
        "--details",
        "details.txt",
        "--network",
        "main_ann.fann",
        "--train-ids",
        "train.xml",
        "--share",
        "{share}",
        "--bootstrap",
        "{samples}",
        "--seed",
        "{sampling_seed}",
        "--out",
        "trial",
    ),
    reads={
        "details.txt": "trial/details.txt",
        "main_ann.fann": "main_ann.fann",  # it is known by its digest
        "train.xml": "train.xml",  # for the overlap
    },
    leaves=(Leaf("trial/metrics.json", "trial/metrics.json", "raw", "metrics"), *_plots()),
    parameters={
        "edit_set": "",  # its name, which the plan fills in: it is on the plots
        "share": 0.034,  # of vandalism among all edits; CBNG_VANDALISM_SHARE replaces it
        "samples": 2000,  # of the bootstrap
        "sampling_seed": 1,
    },
    program="trainer",
    resources=_EVALUATES,
)

MODELS = ("bayes.db", "two_bayes.db", "main_ann.fann")
"""What a network is, where it is run: the databases that its features are made with, and itself."""


def _rival(name: str, doc: str, if_any: tuple[str, ...] = ()) -> Recipe:
    """Return a trial of another network on the same trial edits, of whose results scores count."""
    return Recipe(
        name=name,
        doc=doc,
        command=TRIAL.command,
        reads={"edits.xml": "trial.xml", **{f"data/{file}": f"{name}/{file}" for file in MODELS}},
        leaves=(Leaf("trialreport/details.txt", f"{name}/details.txt", "lines", "trial-details"),),
        if_any=if_any,
        reads_conf=True,
        resources=_READS_EDITS,
    )


PREVIOUS = _rival(
    "previous",
    doc="scores by the network published before",
    if_any=("previous/main_ann.fann",),  # which is looked for in the store
)

REFERENCE = _rival("reference", doc="scores by the bot's network in use")

REFERENCE_IN_IMAGE = replace(
    REFERENCE,
    reads={"edits.xml": "trial.xml"},
    keeps=("data",),
    leaves=(
        *REFERENCE.leaves,
        Leaf("data/bayes.db", "reference/bayes.db", "raw", "bayes-db"),
        Leaf("data/two_bayes.db", "reference/two_bayes.db", "raw", "bayes-db"),
        Leaf("data/main_ann.fann", "reference/main_ann.fann", "raw", "network"),
    ),
)
"""In place of `REFERENCE` where that network is in the core's image: it comes with the scores."""

COMPARE = Recipe(
    name="compare",
    doc="comparison with the network published before and with the bot's",
    command=(
        "compare",
        "--edit-set={edit_set}",
        "--details",
        "details.txt",
        "--network",
        "main_ann.fann",
        "--references",
        "references",
        "--share",
        "{share}",
        "--bootstrap",
        "{samples}",
        "--seed",
        "{sampling_seed}",
        "--out",
        "trial",
    ),
    reads={"details.txt": "trial/details.txt", "main_ann.fann": "main_ann.fann"},
    may_read={  # the names are those of the networks in the comparison
        "references/bot.txt": "reference/details.txt",
        "references/bot.fann": "reference/main_ann.fann",
        "references/previous.txt": "previous/details.txt",
        "references/previous.fann": "previous/main_ann.fann",
        "references/spread.json": "spread.json",
    },
    if_any=("reference/details.txt", "previous/details.txt"),
    leaves=(
        Leaf("trial/comparison.json", "trial/comparison.json", "raw", "comparison"),
        Leaf("trial/comparison.md", "trial/comparison.md", "raw", "table"),
        *_plots("comparison-"),
    ),
    parameters=REPORT.parameters,
    program="trainer",
    resources=_EVALUATES,
)

SPREAD = Recipe(
    name="spread",
    doc="where the network stands among others that differ by their seeds",
    command=(
        "spread",
        "--edit-set={edit_set}",
        "--details",
        "details.txt",
        "--network",
        "main_ann.fann",
        "--seeds",
        "seeds",
        "--out",
        ".",
        "--table",
    ),
    reads={"details.txt": "trial/details.txt", "main_ann.fann": "main_ann.fann"},
    leaves=(Leaf("spread.json", "spread.json", "raw", "spread"),),
    parameters={"edit_set": ""},
    program="trainer",
    resources=_EVALUATES,
)
"""
Of ``cbng-trainer spread`` alone, which adds to what it reads: ``seeds/{seed}.txt``, the details of
the trial of each network.
"""

RECIPES = (
    BAYES_TRAIN,
    BAYES_DB,
    TWO_BAYES_DB,
    ANN_TRAIN,
    ANN,
    TRIAL,
    REPORT,
    PREVIOUS,
    REFERENCE,
    COMPARE,
)
"""Every recipe, each after those whose artifacts it reads."""
