"""Start-up code of processes with this folder on PYTHONPATH, such as the peers' commands."""

from torchvision_operators import declare

declare()
