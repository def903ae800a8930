#!/usr/bin/env bash
# The twin's second part on a laptop CPU:  bash launch/savanna.sh [OUT]
# Writes the embedded savanna, builds its twin, and simulates it without lions, in two dry years and with a fence into
# OUT (default: savanna). Nothing is calibrated: it shows how the twin works, not what a savanna does. Finished steps
# are not repeated.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-savanna}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
source launch/install.sh
install "[twin]"
bioclip_jax=.venv/bin/bioclip-jax
start=$SECONDS
mkdir -p "$out"

echo "1/3 Writing the savanna and building its twin"
[ -d "$out/world" ] || .venv/bin/python - "$out/world" <<'PYTHON'
import sys
from bioclip_jax.datasets.twin_savanna import write_world

write_world(sys.argv[1])
PYTHON
[ -d "$out/twin" ] || "$bioclip_jax" twin build "$out/world/world.toml" "$out/twin"

echo "2/3 Simulating 64 members for 10 years, without and with each scenario"
"$bioclip_jax" twin run "$out/twin" "$out/run" --members 64 --scenario "$out"/world/scenarios/*.toml

echo "3/3 Comparing"
for scenario in "no lions" "two dry years" "a fence"; do
    echo
    "$bioclip_jax" twin compare "$out/run" "$out/effects of $scenario" --scenario "$scenario"
done

cat <<TEXT

  $out/twin               species, links and patches; food_web.png
  $out/run                biomass of all members, without and with each scenario
  $out/effects of ...     effects.png, trajectories.png, a table and JSON

NOT CALIBRATED: parameters come from priors. bioclip-jax twin calibrate takes a survey and says what it tells.
All steps in $((SECONDS - start)) s.
TEXT
