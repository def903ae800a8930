#!/usr/bin/env bash
# What emerges in the embedding space of configs/mini.py, with three amounts of training data, and what does not:
#   bash launch/emergence.sh [OUTPUT]
# Trains on 6 %, 25 % and 100 % of the drawings for the same number of steps, keeps five checkpoints of each, and writes
# three reports over the test split: OUTPUT/{between,within,training}/report.html.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-emergence}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
source launch/install.sh
install ""
bioclip_jax=.venv/bin/bioclip-jax
# The drawings of the quickstart serve as well.
export TFDS_DATA_DIR=${TFDS_DATA_DIR:-$out/datasets}
mkdir -p "$out"

sizes="6 25 100"
runs=()
names=()
for size in $sizes; do
    echo "Training on $size % of the drawings"
    "$bioclip_jax" train --config configs/mini.py --workdir "$out/train-$size" \
        --config.data.train="tree_of_life_mini:train[:$size%]" --config.evaluate_every=0 \
        --config.checkpoint_every=74 --config.keep_checkpoints=5
    runs+=("$out/train-$size")
    names+=("$size %")
done

data=(--data tree_of_life_mini:test)
echo "Between species: beak depth, and the tree"
"$bioclip_jax" analyze between --model "${runs[@]}" --names "${names[@]}" "${data[@]}" --trait trait_value \
    --output "$out/between"
echo "Within species: life stage, sex, health"
"$bioclip_jax" analyze within --model "${runs[@]}" --names "${names[@]}" "${data[@]}" \
    --factor life_stage sex health --output "$out/within"
echo "The same over the checkpoints of the run with all data"
"$bioclip_jax" analyze within --model "$out/train-100" --all-checkpoints "${data[@]}" \
    --factor life_stage sex health --output "$out/training"
