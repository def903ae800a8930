#!/usr/bin/env bash
# The whole loop on a laptop CPU:  bash launch/quickstart.sh [OUT]
# Installs, draws the embedded dataset, trains configs/mini.py, scores, predicts, exports and draws into OUT
# (default: quickstart). What is done already is not done again.
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

echo "1/6 Training on tree_of_life_mini (its drawings are generated first; two to four minutes)"
"$bioclip_jax" train --config configs/mini.py --workdir "$out/run"

echo "2/6 Scoring zero-shot: species seen in training, on new individuals"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:test --json > "$out/test.json.partial"
mv "$out/test.json.partial" "$out/test.json"

echo "3/6 Scoring zero-shot: species never trained on, by their relatives"
"$bioclip_jax" eval zero-shot --model "$out/run" --data tree_of_life_mini:unseen \
    --candidates tree_of_life_mini:train --json > "$out/unseen.json.partial"
mv "$out/unseen.json.partial" "$out/unseen.json"

echo "4/6 Naming some of the test drawings, from kingdom to species"
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
    for place in range(0, len(source), 12):
        sample = source[place]
        name = f"{place:04d}.jpg"
        (folder / name).write_bytes(sample.image)
        table.writerow([name, *astuple(sample.taxon)])
PYTHON
[ "$out/run/taxa.safetensors" -nt "$out/run/metrics.jsonl" ] ||
    "$bioclip_jax" taxa build tree_of_life_mini:train --model "$out/run"
"$bioclip_jax" predict "$out/drawings" --model "$out/run" --output "$out/names.csv" --report "$out/names.html"

echo "5/6 Exporting for open_clip"
if [ ! "$out/open_clip" -nt "$out/run/metrics.jsonl" ]; then
    rm -rf "$out/open_clip"
    "$bioclip_jax" export "$out/run" "$out/open_clip"
fi

echo "6/6 Drawing"
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
  {out}/names.html     names for {len(list((out / "drawings").glob("*.jpg")))} drawings, as a page; names.csv, as a table
  {out}/test.json, unseen.json   the scores
  {out}/datasets       the drawings
Installed in {install} s, everything else in {rest} s.
A page to drop photographs on:  .venv/bin/pip install -e '.[search,web]'
  .venv/bin/bioclip-jax serve --model {out}/run --images {out}/drawings""")
PYTHON
