"""Intervals, class scores and calibration against known answers."""

import math

import numpy as np
import pytest

from stages.core.evaluation.calibration import BINS, brier, coverage_rows, ece, reliability_rows
from stages.core.evaluation.classes import COLUMNS, class_rows, class_scores
from stages.core.evaluation.collector import Scored
from stages.core.evaluation.intervals import bootstrap, wilson
from stages.core.evaluation.summary import summary


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [  # scipy.stats.binomtest(hits, of).proportion_ci(method="wilson")
        (141, 148, 0.90560, 0.97690),
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (1, 1, 0.20655, 1.0),
    ],
)
def test_the_interval_of_a_share_is_wilsons(hits, of, low, high):
    assert wilson(hits, of) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


def test_nothing_seen_has_no_interval():
    assert all(math.isnan(bound) for bound in wilson(0, 0))


def test_the_bootstrap_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap(lambda images: values[images].mean(), 400)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert (bootstrap(lambda images: values[images].mean(), 400) == [low, high]).all()


def test_a_statistic_that_is_never_known_has_no_bounds():
    bounds = bootstrap(lambda images: np.array([1.0, np.nan]), 3)
    assert bounds[:, 0].tolist() == [1.0, 1.0] and np.isnan(bounds[:, 1]).all()


LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 0])


def test_precision_recall_and_f1_are_those_of_the_confusion_matrix():
    found = class_scores(LABELS, PREDICTED, 4)
    assert found.support.tolist() == [3, 2, 1, 0] and found.predicted.tolist() == [4, 2, 0, 0]
    assert found.precision[:2].tolist() == [2 / 4, 1 / 2] and np.isnan(found.precision[2:]).all()
    assert found.recall[:3] == pytest.approx([2 / 3, 1 / 2, 0]) and np.isnan(found.recall[3])
    assert found.f1[:3] == pytest.approx([4 / 7, 1 / 2, 0]) and np.isnan(found.f1[3])
    assert found.macro_f1 == pytest.approx((4 / 7 + 1 / 2) / 3)


def test_a_class_without_images_has_empty_cells():
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in class_rows(LABELS, PREDICTED, [*"abcd"])]
    assert [row["class"] for row in rows] == [*"abcd"]
    assert rows[0]["recall"] == "66.67" and float(rows[0]["recall_low"]) < 66.67
    assert rows[2]["precision"] == "" and rows[2]["recall"] == "0.00"
    assert {key for key, value in rows[3].items() if value == ""} == {*COLUMNS[3:]}


def test_brier_is_the_squared_distance_from_the_truth():
    scores = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    assert brier(scores, np.array([0, 0, 1])) == pytest.approx((0 + 0.5 + 2) / 3)
    assert scores[0, 0] == 1.0


def test_ece_is_the_mean_gap_of_the_bins():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.52])
    correct = np.array([True, True, True, False, True])
    assert ece(confidence, correct) == pytest.approx((4 * (0.9 - 0.75) + (1 - 0.52)) / 5)
    assert ece(np.ones(3), np.ones(3, bool)) == 0


def test_a_bin_holds_its_upper_end():
    """Of 1/15 and a little more, one is 1/15 too sure and the other 14/15 too unsure."""
    one, more = 1 / BINS, 1 / BINS + 1e-9
    assert ece(np.array([one, more]), np.array([False, True])) == pytest.approx((one + 1 - more) / 2)
    assert ece(np.array([one, one]), np.array([False, True])) == pytest.approx(0.5 - one)


def test_reliability_has_groups_of_like_score_and_equal_size():
    confidence = np.array([0.9, 0.2, 0.8, 0.4] * BINS)
    correct = np.array([True, False, True, False] * BINS)
    rows = reliability_rows(confidence, correct)
    assert [row[-1] for row in rows] == [4] * BINS
    assert rows[0][:2] == ["20.00", "0.00"] and rows[-1][:2] == ["90.00", "100.00"]
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    assert [row[-1] for row in reliability_rows(confidence[:3], correct[:3])] == [1, 1, 1]


def test_coverage_rises_from_the_most_confident_image_to_all():
    confidence, correct = np.array([0.5, 0.9, 0.7, 0.6]), np.array([False, True, True, True])
    rows = [row[:3] for row in coverage_rows(confidence, correct)]
    assert rows == [
        ["0.900000", "25.00", "100.00"],
        ["0.700000", "50.00", "100.00"],
        ["0.600000", "75.00", "100.00"],
        ["0.500000", "100.00", "75.00"],
    ]
    many = np.linspace(0.1, 1, 5000)
    assert len(coverage_rows(many, many > 0.5)) == 100


def test_the_summary_names_its_split_and_bounds_what_it_can():
    scores = np.eye(3)[PREDICTED] * 0.9 + 0.1 / 3
    scored = Scored([*"abcdef"], LABELS, scores)
    results = summary("test", scored, {"top1": 50.0}, loss=1.25)
    assert list(results)[:5] == ["split", "num_images", "top1", "top1_low", "top1_high"]
    assert results["split"] == "test" and results["num_images"] == 6
    assert (results["top1_low"], results["top1_high"]) == (18.76, 81.24)
    assert results["macro_f1"] == pytest.approx(100 * (4 / 7 + 1 / 2) / 3, abs=1e-4)
    assert results["macro_f1_low"] < results["macro_f1"] < results["macro_f1_high"]
    assert results["ece"] == pytest.approx(100 * (0.9 + 0.1 / 3 - 0.5), abs=1e-4)
    assert results["largest_class"] == 50.0 and results["loss"] == 1.25
