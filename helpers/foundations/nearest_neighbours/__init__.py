"""Nearest neighbours: the classifier that remembers, what distance means, and how to choose a setting honestly.

`neighbours` has the classifier, `folds` cross-validation, `spoiling` copies of a picture at an equal distance and nuisances by
degrees, `rule` the classifier of digits that a person might write.
"""

from helpers.foundations.nearest_neighbours.folds import cross_validate, folds
from helpers.foundations.nearest_neighbours.neighbours import NearestNeighbours, distances, vote
from helpers.foundations.nearest_neighbours.rule import written_rule
from helpers.foundations.nearest_neighbours.spoiling import covered, darkened, shifted, spoil

__all__ = [
    "NearestNeighbours",
    "covered",
    "cross_validate",
    "darkened",
    "distances",
    "folds",
    "shifted",
    "spoil",
    "vote",
    "written_rule",
]
