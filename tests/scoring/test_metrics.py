"""The loss of val and test against known answers."""

import math

import pytest
from toy_runner import sample

from stages.core.scoring.metrics import Loss


def test_the_loss_is_the_mean_of_minus_log_p_over_images_of_unequal_batches():
    loss = Loss()
    loss.process(None, [sample(0, 0.5, 0.5), sample(1, 0.75, 0.25)])
    loss.process(None, [sample(1, 0.0, 1.0)])
    assert loss.evaluate(3)["loss"] == pytest.approx((math.log(2) + math.log(4)) / 3, rel=1e-12)


def test_a_score_of_zero_costs_a_finite_loss():
    loss = Loss()
    loss.process(None, [sample(0, 0.0, 1.0)])
    assert loss.evaluate(1)["loss"] == pytest.approx(12 * math.log(10))
