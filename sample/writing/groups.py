"""The edit groups of the sample: rows of the review service, and how many edits of which sort."""

from dataclasses import dataclass

FIFTY_FIFTY = "Original Testing Training Set - Random Edits 50/50"


@dataclass(frozen=True)
class Group:
    """An edit group: a row of the review service, and how many edits its dump gets."""

    id: int
    name: str
    type: str
    related_to: int | None
    edits: int
    vandalism: float  # share of the edits
    easy: float = 1.0  # chance of kinds of edits that are easily judged


GROUPS = (
    Group(1, FIFTY_FIFTY, "Generic", None, 12, 0.5),
    Group(2, f"{FIFTY_FIFTY} - Training", "Training", 1, 540, 0.5),
    Group(3, f"{FIFTY_FIFTY} - Trial", "Trial", 1, 320, 0.5),
    Group(4, "Report Interface Import", "Reported False Positives", None, 400, 0.45, easy=0.6),
    Group(5, "Sampled Main Namespace Edits", "Generic", None, 240, 0.25),
)
