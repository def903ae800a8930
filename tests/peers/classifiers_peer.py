"""Results of pybioclip's classifiers, in a process of its own.

    python classifiers_peer.py MODEL FOLDER LABELS IMAGES... > RESULTS.json

FOLDER holds txt_emb_species.npy and .json; LABELS is a text file for pybioclip's --cls.
"""

import json
import sys

from torchvision_operators import declare

declare()

import torch
from bioclip import CustomLabelsBinningClassifier, CustomLabelsClassifier, Rank, TreeOfLifeClassifier
from bioclip.commands import create_classes_str, embed
from bioclip.predict import BaseClassifier

GIVEN = ["apple", "", " apple ", "pear", "pear", "  "]


def main() -> None:
    model, folder, labels, *images = sys.argv[1:]
    source = {"model_str": f"local-dir:{model}"}
    TreeOfLifeClassifier.get_cached_datafile = lambda self, name: f"{folder}/{name.rpartition('/')[2]}"
    results = {}

    given = CustomLabelsClassifier(cls_ary=GIVEN, **source)
    from_file = CustomLabelsClassifier(cls_ary=create_classes_str(labels).split(","), **source)
    bins = CustomLabelsBinningClassifier(
        cls_to_bin={"apple": "fruit", "pear": "fruit", "oak": "tree"}, **source
    )
    taxa = TreeOfLifeClassifier(**source)
    results["given"], results["file"] = given.predict(images), from_file.predict(images)
    results["taxa"] = taxa.predict(images, Rank.SPECIES, k=len(taxa.txt_names))
    results["families"] = taxa.predict(images, Rank.FAMILY, k=99)

    plain = BaseClassifier(**source)
    pictures = [plain.ensure_rgb_image(image) for image in images]
    pixels = torch.stack([plain.preprocess(picture) for picture in pictures])
    results["pixels"] = pixels[:, :, ::16, ::16].tolist()
    results["unit"] = plain.create_image_features(pictures).tolist()
    results["raw"] = plain.create_image_features(pictures, normalize=False).tolist()
    results["one"] = plain.create_image_features_for_image(images[0], normalize=True).tolist()
    with torch.no_grad():
        results["forward"] = {
            "given": given(pixels).tolist(),
            "bins": bins(pixels).tolist(),
            "taxa": taxa(pixels).tolist(),
        }
        results["label_vectors"] = given.txt_embeddings.tolist()
        results["taxa_vectors"] = taxa.get_txt_embeddings().tolist()
        taxa.apply_filter(taxa.create_taxa_filter(Rank.GENUS, ["G1"]))
        results["subset_vectors"] = taxa.get_txt_embeddings().tolist()
        results["forward"]["subset"] = taxa(pixels).tolist()
    embed(images, f"{folder}/theirs.json", device="cpu", **source)
    json.dump(results, sys.stdout)


main()
