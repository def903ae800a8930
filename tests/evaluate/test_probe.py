"""The probe against torch, from the same start and batches, and its dropout and seeds."""

import numpy as np
import pytest
import torch

from bioclip_jax.evaluate.protocols.probe import (
    ProbeParams,
    dropout_logits,
    epoch_order,
    fit_probe,
    initial_params,
    logits,
)


def data(n=90, dim=20, out=9, seed=0):
    random = np.random.default_rng(seed)
    x = (3 * random.normal(size=(n, dim))).astype(np.float32)
    return x, (x[:, :out] + random.normal(size=(n, out)) > 0).astype(np.float32)


def torch_probe(x, y, seed, epochs, batch_size, hidden, rate):
    """Train a probe of torch's layers, loss, Adam and schedule; return its logits without dropout."""
    start = initial_params(seed, x.shape[1], hidden, y.shape[1])
    model = torch.nn.Sequential(torch.nn.Linear(x.shape[1], hidden), torch.nn.Linear(hidden, y.shape[1]))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(start.weight_1.T))
        model[0].bias.copy_(torch.tensor(start.bias_1))
        model[1].weight.copy_(torch.tensor(start.weight_2.T))
        model[1].bias.copy_(torch.tensor(start.bias_2))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
    for epoch in range(epochs):
        order = epoch_order(seed, epoch, len(x))
        for first in range(0, len(x), batch_size):
            rows = order[first : first + batch_size]
            loss = torch.nn.BCEWithLogitsLoss()(model(torch.tensor(x[rows])), torch.tensor(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        return model(torch.tensor(x)).numpy()


# 45 epochs pass two halvings of the learning rate; 90 rows in batches of 32 leave a last one of 26.
@pytest.mark.parametrize(("epochs", "batch_size", "rate"), [(3, 32, 1e-2), (45, 32, 1e-3), (3, 500, 1e-3)])
def test_training_equals_torch(epochs, batch_size, rate):
    x, y = data()
    params = fit_probe(
        x, y, seeds=(4, 7), learning_rate=rate, epochs=epochs, batch_size=batch_size, hidden=16, dropout=0.0
    )
    for seed_logits, seed in zip(logits(params, x), (4, 7)):
        expected = torch_probe(x, y, seed, epochs, batch_size, 16, rate)
        start = initial_params(seed, 20, 16, 9)
        before = (x @ start.weight_1 + start.bias_1) @ start.weight_2 + start.bias_2
        assert np.abs(expected - before).max() > 0.05, "the probe has hardly moved"
        np.testing.assert_allclose(
            seed_logits, expected, atol=2e-5, rtol=1e-5, err_msg=f"seed {seed}, {epochs} epochs"
        )


def test_starts_within_the_bounds_of_torch_linear():
    start = initial_params(3, 64, 512, 9)
    for part, inputs in zip(start, (64, 64, 512, 512)):
        assert part.dtype == np.float32
        bound = inputs**-0.5
        assert np.abs(part).max() <= bound
        assert np.abs(part).max() > 0.6 * bound, f"values up to {np.abs(part).max()} do not fill ±{bound}"
    assert abs(start.weight_1.std() / (64**-0.5 / 3**0.5) - 1) < 0.02, "not as wide as a uniform distribution"


def test_every_epoch_is_another_permutation():
    orders = [epoch_order(seed, epoch, 50) for seed in (0, 1) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 6, "two epochs or seeds have the same order"


def test_seeds_train_independently():
    x, y = data()
    more = {"learning_rate": 1e-2, "epochs": 3, "batch_size": 32, "hidden": 16}
    both = fit_probe(x, y, seeds=(5, 2), **more)
    again = fit_probe(x, y, seeds=(5, 2), **more)
    alone = fit_probe(x, y, seeds=(2,), **more)
    for part, repeated, single in zip(both, again, alone):
        np.testing.assert_array_equal(part, repeated, err_msg="a second run differs")
        np.testing.assert_allclose(part[1], single[0], atol=1e-5, err_msg="seed 2 differs beside seed 5")
        assert np.abs(part[0] - part[1]).max() > 1e-2, "both seeds learned the same"


def test_logits_equal_both_layers_in_sequence():
    x, y = data()
    params = fit_probe(x, y, seeds=(0, 1), learning_rate=1e-2, epochs=2, hidden=16)
    for seed in range(2):
        w1, b1, w2, b2 = (np.float64(part[seed]) for part in params)
        np.testing.assert_allclose(logits(params, x)[seed], (x @ w1 + b1) @ w2 + b2, atol=1e-5)


def test_dropout_zeroes_half_of_the_hidden_layer_and_doubles_the_rest():
    hidden = 32
    ones = ProbeParams(
        np.zeros((2, 4, hidden), np.float32), np.ones((2, hidden), np.float32),
        np.stack([np.eye(hidden, dtype=np.float32)] * 2), np.zeros((2, hidden), np.float32),
    )  # fmt: skip
    result = dropout_logits(ones, np.zeros((5000, 4), np.float32), (0, 1))
    assert set(np.unique(result)) == {0.0, 2.0}
    share = (result > 0).mean(axis=(1, 2))
    assert np.abs(share - 0.5).max() < 0.01, f"the two seeds keep {share} of the layer"
    assert (result[0] != result[1]).any() and (result[0, :900] != result[0, 4096:4996]).any()
    np.testing.assert_array_equal(logits(ones, np.zeros((3, 4), np.float32)), np.ones((2, 3, hidden)))


def test_training_drops_out_another_mask_each_step():
    # With one row, each epoch is a step, and the layer's bias moves where the mask is 1: after two steps
    # about three quarters.
    x, y = np.ones((1, 4), np.float32), np.ones((1, 3), np.float32)
    moved = {}
    for epochs in (1, 2):
        params = fit_probe(x, y, seeds=(0,), learning_rate=1e-3, epochs=epochs, hidden=400)
        moved[epochs] = (params.bias_1[0] != initial_params(0, 4, 400, 3).bias_1).mean()
    assert 0.4 < moved[1] < 0.6, f"{moved[1]:.0%} of the hidden layer learned in one step"
    assert 0.68 < moved[2] < 0.82, f"{moved[2]:.0%} of the hidden layer learned in two steps"
