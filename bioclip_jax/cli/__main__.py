"""The command line as `python -m bioclip_jax.cli`."""

import sys

from bioclip_jax.cli import main

sys.exit(main())
