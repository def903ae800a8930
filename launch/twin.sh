#!/usr/bin/env bash
# The whole twin on a laptop CPU:  [MODEL=RUN] bash launch/twin.sh [OUT]
# Draws a world of camera traps, names its photographs with the quickstart's model, and estimates occupancy, relative
# abundance, activity and density; calibrates an invented savanna to a survey of it, simulates it without and with
# three scenarios, and shows it as one HTML page. All into OUT (default: twin). Without MODEL, a training directory,
# the quickstart makes one. Finished steps are not repeated.
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
[ -e "$out/twin.html" ] || echo "Seven steps, two to three minutes on two cores"

# Compiling the likelihood keeps one core busy for a minute, so it shares the time with the photographs.
echo "1/7 Drawing a savanna and a survey of it; calibrating its twin in the background"
[ -d "$out/world" ] || .venv/bin/python - "$out/world" <<'PYTHON'
import sys
from bioclip_jax.datasets.twin_savanna import write_world

write_world(sys.argv[1])
PYTHON
if [ ! -d "$out/twin" ] && ! "$bioclip_jax" twin build "$out/world/world.toml" "$out/twin" > "$out/build.log" 2>&1; then
    cat "$out/build.log" >&2
    exit 2
fi
calibrate() {
    [ -d "$out/posterior" ] || "$bioclip_jax" twin calibrate "$out/twin" "$out/world/survey.csv" "$out/posterior" \
        --movement "$out/world/movement.csv" --draws 64
}
calibrate > "$out/calibrate.log" 2>&1 &
calibration=$!
trap 'kill $calibration 2> /dev/null || true' EXIT

echo "2/7 Drawing camera_trap_mini: 30 sites, 30 days, some 3,000 photographs"
[ -d "$out/photos" ] || .venv/bin/python - "$out" <<'PYTHON'
import sys
from bioclip_jax.datasets.camera_trap_mini import write_world

write_world(sys.argv[1], seed=2)
PYTHON

echo "3/7 Naming the photographs with calibrated probabilities, into a Camtrap DP"
[ -e "$model/taxa.safetensors" ] || "$bioclip_jax" taxa build tree_of_life_mini:train --model "$model" > /dev/null
[ -e "$out/calibration.json" ] ||
    "$bioclip_jax" taxa calibrate tree_of_life_mini:validation --model "$model" --subset "$out/species.csv" \
        --output "$out/calibration.json" > /dev/null
[ -d "$out/package" ] ||
    "$bioclip_jax" twin observe "$out/photos" "$out/deployments.csv" "$out/package" --model "$model" \
        --subset "$out/species.csv" --temperature "$out/calibration.json" --detections "$out/detections.json" \
        --human "$out/verified.csv" --share "$out/shared"

echo "4/7 Estimating occupancy, relative abundance, activity and density"
[ -d "$out/estimates" ] ||
    "$bioclip_jax" twin estimate "$out/package" "$out/estimates" --movement "$out/movement.csv" > /dev/null

echo "5/7 Waiting for the calibration"
if ! wait $calibration; then
    cat "$out/calibrate.log" >&2
    exit 2
fi
cat "$out/calibrate.log"

echo "6/7 Simulating 32 members for 5 years, without lions, in two dry years and with a fence"
"$bioclip_jax" twin run "$out/twin" "$out/run" --posterior "$out/posterior" --members 32 --years 5 \
    --scenario "$out"/world/scenarios/*.toml

echo "7/7 Writing the page"
[ -e "$out/twin.html" ] || "$bioclip_jax" twin export "$out/run" "$out/twin.html"

.venv/bin/python - "$out" $((SECONDS - start)) <<'PYTHON'
import json, sys
from pathlib import Path

out, seconds = Path(sys.argv[1]), sys.argv[2]


def read(*parts):
    return json.loads(out.joinpath(*parts).read_text())


def table(title, rows):
    """Print planted and estimated values and their 90 % intervals; rows: name, planted, interval, naive value."""
    print(f"\n{title:<28}{'planted':>8}{'estimated':>11}  {'90 % interval':<18}{'holds it':<10}naive")
    held = 0
    for name, true, middle, lower, upper, naive in rows:
        holds = lower <= true <= upper
        held += holds
        limits, naive = f"{lower:.3g} to {upper:.3g}", "" if naive is None else f"{naive:.3g}"
        row = f"{name:<28}{true:>8.3g}{middle:>11.3g}  {limits:<18}{'yes' if holds else 'no':<10}{naive}"
        print(row.rstrip())
    print(f"{held} of {len(rows)} intervals hold the planted value")


truth, estimates = read("truth.json")["species"], read("estimates", "estimates.json")["species"]
QUANTITIES = (
    ("Occupancy", "occupancy", "occupancy"),
    ("Events per 100 camera-days", "events_per_100_days", "relative_abundance_per_100_days"),
    ("Density per km²", "density_per_km2", "density_per_km2"),
)
for title, planted, estimated in QUANTITIES:
    rows = []
    for name, values in estimates.items():
        one = values[estimated]
        naive = {"occupancy": values["naive_occupancy"]}.get(estimated, one.get("naive"))
        rows.append((name, truth[name][planted], one["mean"], one["lower"], one["upper"], naive))
    table(title, rows)
print('"naive" ignores the model\'s errors, and sites where a species was there and missed.')
PYTHON

cat <<TEXT

Of many intervals one in ten misses; bioclip-jax twin validate counts them over many worlds.

  $out/twin.html       the savanna: map, food web, animals and their eyes, what if; it loads nothing
  $out/run             biomass of all members, without and with each scenario
  $out/posterior       what the survey tells of the savanna, and what not
  $out/package         the drawn survey as a Camtrap DP, exact and private; $out/shared for others
  $out/estimates       its estimates as JSON, tables and figures
All steps in $((SECONDS - start)) s.
TEXT
