"""pybioclip's TreeOfLifeClassifier over text embeddings of a local folder, in a process of its own.

    python tree_of_life_peer.py MODEL FOLDER SUBSET IMAGES... > ANSWERS.json

FOLDER holds txt_emb_species.npy and .json; SUBSET is a CSV as its command takes it.
"""

import json
import sys

from torchvision_operators import declare

declare()

from bioclip import Rank, TreeOfLifeClassifier


def main() -> None:
    model, folder, subset, *images = sys.argv[1:]
    # Where it would fetch a file of the Hub, it takes ours.
    TreeOfLifeClassifier.get_cached_datafile = lambda self, name: f"{folder}/{name.rpartition('/')[2]}"
    classifier = TreeOfLifeClassifier(model_str=f"local-dir:{model}")
    answers = {rank.get_label(): classifier.predict(images, rank) for rank in Rank}
    labels = classifier.get_label_data()
    classifier.apply_filter(classifier.create_taxa_filter_from_csv(subset))
    answers["subset"] = classifier.predict(images, Rank.SPECIES, k=3)
    answers["subset_family"] = classifier.predict(images, Rank.FAMILY)
    answers["labels"] = labels.to_dict("list")
    json.dump(answers, sys.stdout)


main()
