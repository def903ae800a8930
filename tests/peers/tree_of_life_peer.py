"""Results of pybioclip's TreeOfLifeClassifier over local text embeddings, in a process of its own.

    python tree_of_life_peer.py MODEL FOLDER SUBSET IMAGES... > RESULTS.json

FOLDER holds txt_emb_species.npy and .json; SUBSET is a CSV for pybioclip's --subset.
"""

import json
import sys

from torchvision_operators import declare

declare()

from bioclip import Rank, TreeOfLifeClassifier


def main() -> None:
    model, folder, subset, *images = sys.argv[1:]
    # Local files in place of downloads from the Hub.
    TreeOfLifeClassifier.get_cached_datafile = lambda self, name: f"{folder}/{name.rpartition('/')[2]}"
    classifier = TreeOfLifeClassifier(model_str=f"local-dir:{model}")
    results = {rank.get_label(): classifier.predict(images, rank) for rank in Rank}
    labels = classifier.get_label_data()
    classifier.apply_filter(classifier.create_taxa_filter_from_csv(subset))
    results["subset"] = classifier.predict(images, Rank.SPECIES, k=3)
    results["subset_family"] = classifier.predict(images, Rank.FAMILY)
    results["labels"] = labels.to_dict("list")
    json.dump(results, sys.stdout)


main()
