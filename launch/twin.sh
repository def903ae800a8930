#!/usr/bin/env bash
# The twin's first part on a laptop CPU:  [MODEL=RUN] bash launch/twin.sh [OUT]
# Draws a world of camera traps, names its photographs with the quickstart's model, estimates occupancy, relative
# abundance, activity and density into OUT (default: twin), and compares them with the planted truth. Without MODEL,
# a training directory, the quickstart makes one. Finished steps are not repeated.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-twin}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
model=${MODEL:-quickstart/run}
case $model in /*) ;; *) [ -z "${MODEL:-}" ] || model=$here/$model ;; esac
if [ -n "${MODEL:-}" ] && [ ! -d "$model" ]; then
    echo "error: MODEL is $model, which does not exist; give a training directory, or none" >&2
    exit 2
fi
source launch/install.sh
install "[train,eval,twin]"
bioclip_jax=.venv/bin/bioclip-jax
[ -n "${MODEL:-}" ] || [ -e quickstart/unseen.json ] || bash launch/quickstart.sh
# The quickstart's drawings are beside its model.
[ ! -d "$(dirname "$model")/datasets" ] || export TFDS_DATA_DIR=$(dirname "$model")/datasets
start=$SECONDS
mkdir -p "$out"
[ -e "$out/estimates" ] || echo "Four steps, one to two minutes on two cores"

echo "1/4 Drawing camera_trap_mini: 30 sites, 30 days, some 3,000 photographs"
[ -d "$out/photos" ] || .venv/bin/python - "$out" <<'PYTHON'
import sys
from bioclip_jax.datasets.camera_trap_mini import write_world

write_world(sys.argv[1], seed=2)
PYTHON

echo "2/4 Calibrating the model's probabilities"  # over the candidates that it will have, the world's species
[ -e "$model/taxa.safetensors" ] || "$bioclip_jax" taxa build tree_of_life_mini:train --model "$model" > /dev/null
[ -e "$out/calibration.json" ] ||
    "$bioclip_jax" taxa calibrate tree_of_life_mini:validation --model "$model" --subset "$out/species.csv" \
        --output "$out/calibration.json" > /dev/null

echo "3/4 Naming the photographs and writing a Camtrap DP"
[ -d "$out/package" ] ||
    "$bioclip_jax" twin observe "$out/photos" "$out/deployments.csv" "$out/package" --model "$model" \
        --subset "$out/species.csv" --temperature "$out/calibration.json" --detections "$out/detections.json" \
        --human "$out/verified.csv" --share "$out/shared"

echo "4/4 Estimating"
[ -d "$out/estimates" ] ||
    "$bioclip_jax" twin estimate "$out/package" "$out/estimates" --movement "$out/movement.csv" > /dev/null

.venv/bin/python - "$out" $((SECONDS - start)) <<'PYTHON'
import json, sys
from pathlib import Path

out, seconds = Path(sys.argv[1]), sys.argv[2]
truth = json.loads((out / "truth.json").read_text())["species"]
estimates = json.loads((out / "estimates" / "estimates.json").read_text())["species"]
QUANTITIES = (
    ("Occupancy", "occupancy", "occupancy"),
    ("Events per 100 camera-days", "events_per_100_days", "relative_abundance_per_100_days"),
    ("Density per km²", "density_per_km2", "density_per_km2"),
)
for title, planted, estimated in QUANTITIES:
    print(f"\n{title:<28}{'planted':>8}{'estimated':>11}  {'90 % interval':<18}{'holds it':<10}naive")
    held = 0
    for name, values in estimates.items():
        true, interval = truth[name][planted], values[estimated]
        naive = {"occupancy": values["naive_occupancy"]}.get(estimated, interval.get("naive"))
        holds = interval["lower"] <= true <= interval["upper"]
        held += holds
        limits = f"{interval['lower']:.3g} to {interval['upper']:.3g}"
        naive = "" if naive is None else f"{naive:.3g}"
        row = f"{name:<28}{true:>8.3g}{interval['mean']:>11.3g}  {limits:<18}{'yes' if holds else 'no':<10}{naive}"
        print(row.rstrip())
    print(f"{held} of {len(estimates)} intervals hold the planted value")
print(f"""
"naive" ignores the model's errors, and sites where a species was there and missed. Of many intervals one in ten
misses; bioclip-jax twin validate counts them over many worlds.

  {out}/photos         the photographs, by camera
  {out}/package        the survey as a Camtrap DP, exact and private
  {out}/shared         the same for others: coarse positions, no camera ids
  {out}/estimates      estimates as JSON, tables and figures
  {out}/truth.json     what was planted
All steps in {seconds} s.""")
PYTHON
