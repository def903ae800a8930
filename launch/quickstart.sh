#!/usr/bin/env bash
# The whole loop on a laptop CPU:  bash launch/quickstart.sh [OUT]
# Installs, generates the embedded dataset, trains configs/mini.py, evaluates, predicts, exports and plots into OUT
# (default: quickstart). Finished steps are not repeated.
set -euo pipefail
start=$SECONDS
here=$PWD
cd "$(dirname "$0")/.."
out=${1:-quickstart}
case $out in /*) ;; *) [ $# -eq 0 ] || out=$here/$out ;; esac
source launch/install.sh
install "[train,eval]"
installed=$SECONDS
bioclip_jax=.venv/bin/bioclip-jax
export TFDS_DATA_DIR=$out/datasets
mkdir -p "$out"
[ -e "$out/unseen.json" ] || echo "Six steps, three and a half to seven minutes on two cores"

echo "1/6 Generating tree_of_life_mini and training on it (two to four minutes)"
"$bioclip_jax" train --config configs/mini.py --workdir "$out/run"

echo "2/6 Evaluating zero-shot on new individuals of the trained species"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:test --json > "$out/test.json.partial"
mv "$out/test.json.partial" "$out/test.json"

echo "3/6 Evaluating zero-shot on unseen species, by their relatives"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:unseen \
    --candidates tree_of_life_mini:train --json > "$out/unseen.json.partial"
mv "$out/unseen.json.partial" "$out/unseen.json"

echo "4/6 Predicting names for some of the test drawings"
.venv/bin/python - "$out/drawings" <<'PYTHON'
import csv, sys
from dataclasses import astuple, fields
from pathlib import Path

import bioclip_jax.datasets
from bioclip_jax.pipeline.sources import open_source

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
source = open_source("tree_of_life_mini:test", split="test")
with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["filepath", *(field.name.rstrip("_") for field in fields(source[0].taxon))])
    for index in range(0, len(source), 12):
        sample = source[index]
        name = f"{index:04d}.jpg"
        (folder / name).write_bytes(sample.image)
        table.writerow([name, *astuple(sample.taxon)])
PYTHON
[ "$out/run/taxa.safetensors" -nt "$out/run/metrics.jsonl" ] ||
    "$bioclip_jax" taxa build tree_of_life_mini:train --model "$out/run" > /dev/null
"$bioclip_jax" predict "$out/drawings" --model "$out/run" --output "$out/names.csv" --report "$out/names.html"

echo "5/6 Exporting for open_clip"
if [ ! "$out/open_clip" -nt "$out/run/metrics.jsonl" ]; then
    rm -rf "$out/open_clip"
    "$bioclip_jax" export "$out/run" "$out/open_clip"
fi

echo "6/6 Plotting the training curve and a map of the embeddings"
"$bioclip_jax" analyze overview --model "$out/run" --data tree_of_life_mini:test --output "$out/overview.png"

.venv/bin/python - "$out" $((installed - start)) $((SECONDS - installed)) <<'PYTHON'
import json, sys
from pathlib import Path

out, install, rest = Path(sys.argv[1]), *sys.argv[2:]
test, unseen = (json.loads((out / f"{name}.json").read_text()) for name in ("test", "unseen"))
print(f"""
Zero-shot accuracy, {test["n"]} test drawings:  species {test["ranks"]["species"]:.1%}, family {test["ranks"]["family"]:.1%}, kingdom {test["ranks"]["kingdom"]:.1%}
Unseen species, {unseen["n"]} drawings:  family {unseen["ranks"]["family"]:.1%} (chance {unseen["chance"]["family"]:.1%})

  {out}/run            the training directory: config, metrics, TensorBoard, checkpoints
  {out}/open_clip      the model as open_clip and pybioclip load it
  {out}/overview.png   training curve and map of the embeddings
  {out}/names.html     names for {len(list((out / "drawings").glob("*.jpg")))} drawings, as a page; names.csv, as a table
  {out}/test.json, unseen.json   the scores
  {out}/datasets       the drawings
Installed in {install} s, all steps in {rest} s.
A page to drop photographs on:  .venv/bin/pip install -e '.[search,web]'
  .venv/bin/bioclip-jax serve --model {out}/run --images {out}/drawings""")
PYTHON
