"""Worked example of a detector: train a classifier of text labels against photographs, and export it to ONNX.

As a user would: pictures to remove (drawn here), pictures to keep, a logistic regression over simple
features, and a threshold that keeps the photographs.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bioclip_jax.pipeline.images import Preprocess

SIZE = 64

TOML = """\
name = "label"
model = "label.onnx"
size = 64
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
output = "logit"
activation = "sigmoid"
threshold = 0.9
"""

_WORDS = (
    "Coll. Museum Typus Holotype det. leg. 1897 Brasilia Herb. No. 4711 Coleoptera Fam. Lepidoptera loc."
).split()
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
)


def draw_label(rng: np.random.Generator) -> np.ndarray:
    """Draw a paper label or page of text as if photographed, uint8 [256, 256, 3]."""
    paper = np.full((256, 256, 3), rng.uniform(205, 250, 3).astype(int), np.uint8)
    ink, font, scale = (
        rng.uniform(0, 90, 3).tolist(),
        _FONTS[rng.integers(len(_FONTS))],
        rng.uniform(0.35, 0.9),
    )
    for baseline in np.arange(30, 250, 36 * scale + rng.uniform(2, 10)):
        line = " ".join(rng.choice(_WORDS, rng.integers(1, 6)))
        cv2.putText(paper, line, (int(rng.uniform(4, 40)), int(baseline)), font, scale, ink, 1, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((128, 128), rng.uniform(-12, 12), rng.uniform(0.8, 1.2))
    table = rng.uniform(30, 220, 3).tolist()
    picture = cv2.warpAffine(paper, turn, (256, 256), borderMode=cv2.BORDER_CONSTANT, borderValue=table)
    shading = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, 256)[:, None, None]
    return np.clip(picture * shading + rng.normal(0, rng.uniform(1, 6), picture.shape), 0, 255).astype(
        np.uint8
    )


def train_detector(folder: Path, labels: list[np.ndarray], photographs: list[np.ndarray]) -> Path:
    """Train on both kinds of pictures, write label.onnx and label.toml, and return the TOML file's path."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = compute_features([*labels, *photographs])
    is_label = np.arange(len(features)) < len(labels)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(features), is_label)
    weights = model.coef_[0] / scaler.scale_
    bias = model.intercept_[0] - weights @ scaler.mean_
    (folder / "label.onnx").write_bytes(make_model(weights[:, None], [bias]))
    path = folder / "label.toml"
    path.write_text(TOML)
    return path


def compute_features(pictures: list[np.ndarray]) -> np.ndarray:
    """Compute the linear layer's inputs with the exported graph itself."""
    columns = 3 + 2 * len(_kernels())
    session = onnxruntime.InferenceSession(make_model(np.eye(columns), np.zeros(columns)))
    transform = Preprocess(SIZE, interpolation="bilinear", resize_mode="squash")
    pixels = np.stack([transform(Image.fromarray(picture)) for picture in pictures])
    values = (pixels.transpose(0, 3, 1, 2) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    return session.run(None, {"pixels": values})[0]


def _kernels() -> np.ndarray:
    """First and second differences and corners, float32 [n, 3, 3]."""
    smooth, edge, bend = np.float32([1, 2, 1]) / 4, np.float32([-1, 0, 1]) / 2, np.float32([-1, 2, -1]) / 2
    pairs = ((smooth, edge), (edge, smooth), (smooth, bend), (bend, smooth), (edge, edge))
    return np.stack([np.outer(a, b) for a, b in pairs])


def make_model(weights: np.ndarray, bias: np.ndarray) -> bytes:
    """ONNX model: mean color, mean magnitude and power of filtered luminance, and a linear layer."""
    kernels = _kernels()[:, None] * np.float32([0.299, 0.587, 0.114])[None, :, None, None]
    constants = {"kernels": kernels, "weights": np.float32(weights), "bias": np.float32(bias)}
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["color"]),
        helper.make_node("Conv", ["pixels", "kernels"], ["filtered"]),
        helper.make_node("Abs", ["filtered"], ["strength"]),
        helper.make_node("GlobalAveragePool", ["strength"], ["mean"]),
        helper.make_node("Mul", ["filtered", "filtered"], ["square"]),
        helper.make_node("GlobalAveragePool", ["square"], ["power"]),
        helper.make_node("Concat", ["color", "mean", "power"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logit"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    logit = helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch", weights.shape[1]])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "label", [pixels], [logit], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
