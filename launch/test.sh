#!/usr/bin/env bash
# The whole test suite in a .venv of its own:  bash launch/test.sh [PYTEST OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/install.sh
install "[test]"
exec .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
