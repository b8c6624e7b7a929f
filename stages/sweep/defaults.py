"""What follows from the store of a sweep: the recipe of its runs, as in training a single aggregator."""

from ..defaults import Chosen, Values
from ..train_aggregator.defaults import choose_recipe
from .settings import SweepSettings


def choose(typed: Values) -> Chosen:
    """Return the recipe for so many training videos, unless one is typed or nothing has to be trained."""
    usual = SweepSettings.__dataclass_fields__["aggregators"].default
    return choose_recipe("sweep", typed, aggregators=typed.get("aggregators", usual))
