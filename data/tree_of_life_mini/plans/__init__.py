"""Body plans: each draws one kind of organism on a canvas from the traits of its species."""

from bioclip_jax.datasets.tree_of_life_mini.plans.bird import draw_bird
from bioclip_jax.datasets.tree_of_life_mini.plans.butterfly import draw_butterfly
from bioclip_jax.datasets.tree_of_life_mini.plans.leaf import draw_leaf
from bioclip_jax.datasets.tree_of_life_mini.plans.mushroom import draw_mushroom

PLANS = {
    "bird": draw_bird,
    "butterfly": draw_butterfly,
    "leaf": draw_leaf,
    "mushroom": draw_mushroom,
}
