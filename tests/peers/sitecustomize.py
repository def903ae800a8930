"""Python runs this at the start of each process that has this folder on PYTHONPATH, as peers' commands do."""

from torchvision_operators import declare

declare()
