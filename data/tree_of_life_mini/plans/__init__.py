"""Body plans: each draws one kind of organism on a canvas from the traits of its species."""

from bioclip_jax.datasets.tree_of_life_mini.plans.beetle import draw_beetle
from bioclip_jax.datasets.tree_of_life_mini.plans.bird import draw_bird
from bioclip_jax.datasets.tree_of_life_mini.plans.butterfly import draw_butterfly
from bioclip_jax.datasets.tree_of_life_mini.plans.fish import draw_fish
from bioclip_jax.datasets.tree_of_life_mini.plans.flower import draw_flower
from bioclip_jax.datasets.tree_of_life_mini.plans.frog import draw_frog
from bioclip_jax.datasets.tree_of_life_mini.plans.leaf import draw_leaf
from bioclip_jax.datasets.tree_of_life_mini.plans.mushroom import draw_mushroom

PLANS = {
    "beetle": draw_beetle,
    "bird": draw_bird,
    "butterfly": draw_butterfly,
    "fish": draw_fish,
    "flower": draw_flower,
    "frog": draw_frog,
    "leaf": draw_leaf,
    "mushroom": draw_mushroom,
}
