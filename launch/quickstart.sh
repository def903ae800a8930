#!/usr/bin/env bash
# The whole loop on a laptop CPU:  bash launch/quickstart.sh [OUT]
# Installs, draws the embedded dataset, trains configs/mini.py, scores, exports and draws into OUT
# (default: quickstart). What is done already is not done again.
set -euo pipefail
start=$SECONDS
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-quickstart}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
source launch/install.sh
install ""
installed=$SECONDS
bioclip_jax=.venv/bin/bioclip-jax
export TFDS_DATA_DIR=$out/datasets
mkdir -p "$out"

echo "1/5 Training on tree_of_life_mini (the dataset is drawn first)"
"$bioclip_jax" train --config configs/mini.py --workdir "$out/run"

echo "2/5 Scoring zero-shot: species seen in training, on new individuals"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:test --json > "$out/test.json.partial"
mv "$out/test.json.partial" "$out/test.json"

echo "3/5 Scoring zero-shot: species never trained on, by their relatives"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:unseen \
    --candidates tree_of_life_mini:train --json > "$out/unseen.json.partial"
mv "$out/unseen.json.partial" "$out/unseen.json"

echo "4/5 Exporting for open_clip"
if [ ! "$out/open_clip" -nt "$out/run/metrics.jsonl" ]; then
    rm -rf "$out/open_clip"
    "$bioclip_jax" export "$out/run" "$out/open_clip"
fi

echo "5/5 Drawing"
"$bioclip_jax" analyze overview --model "$out/run" --data tree_of_life_mini:test --output "$out/overview.png"

.venv/bin/python - "$out" $((installed - start)) $((SECONDS - installed)) <<'PYTHON'
import json, sys
from pathlib import Path

out, install, rest = Path(sys.argv[1]), *sys.argv[2:]
test, unseen = (json.loads((out / f"{name}.json").read_text()) for name in ("test", "unseen"))
print(f"""
Zero-shot accuracy, {test["n"]} test drawings:  species {test["ranks"]["species"]:.1%}, family {test["ranks"]["family"]:.1%}, kingdom {test["ranks"]["kingdom"]:.1%}
Species never trained on, {unseen["n"]} drawings:  right family {unseen["ranks"]["family"]:.1%} (chance {unseen["chance"]["family"]:.1%})

  {out}/run            the training directory: config, metrics, TensorBoard, checkpoints
  {out}/open_clip      the model as open_clip and pybioclip load it
  {out}/overview.png   training curve and map of the embeddings
  {out}/test.json, unseen.json   the scores
  {out}/datasets       the drawings
Installed in {install} s, everything else in {rest} s.""")
PYTHON
