#!/usr/bin/env bash
# Emergent structure in the embedding space of configs/mini.py, for three amounts of training data:
#   bash launch/emergence.sh [OUTPUT]
# Trains on 6 %, 25 % and 100 % of the drawings for the same number of steps, and analyzes the test split: by the amount
# of data (OUTPUT/between, OUTPUT/within), and over the checkpoints of the run with all of it (OUTPUT/between-training,
# OUTPUT/within-training), with a report.html each. STEPS=370 trains each as long as the quickstart.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-emergence}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
source launch/install.sh
install "[train,eval]"
bioclip_jax=.venv/bin/bioclip-jax
# Reuses the quickstart's drawings if TFDS_DATA_DIR names them.
export TFDS_DATA_DIR=${TFDS_DATA_DIR:-$out/datasets}
mkdir -p "$out"

steps=${STEPS:-3000}
runs=()
names=()
for size in 6 25 100; do
    echo "Training on $size % of the drawings, $steps steps"
    "$bioclip_jax" train --config configs/mini.py --workdir "$out/train-$size" \
        --config.data.train="tree_of_life_mini:train[:$size%]" --config.total_steps="$steps" \
        --config.evaluate_every=0 --config.checkpoint_every=$(((steps + 7) / 8)) --config.keep_checkpoints=8
    runs+=("$out/train-$size")
    names+=("$size %")
done

data=(--data tree_of_life_mini:test)
# finches.csv has the beak depths of Darwin's finches as drawn; individuals vary by 7 %.
factors=(--factor life_stage sex health)
echo "Beak depth, the tree, and life stage, sex and health, by the amount of data"
models=(--model "${runs[@]}" --names "${names[@]}")
"$bioclip_jax" analyze between "${models[@]}" "${data[@]}" --traits launch/finches.csv --output "$out/between"
"$bioclip_jax" analyze within "${models[@]}" "${data[@]}" "${factors[@]}" --output "$out/within"
echo "The same over the training with all of it"
models=(--model "$out/train-100" --all-checkpoints)
"$bioclip_jax" analyze between "${models[@]}" "${data[@]}" --traits launch/finches.csv --output "$out/between-training"
"$bioclip_jax" analyze within "${models[@]}" "${data[@]}" "${factors[@]}" --output "$out/within-training"
