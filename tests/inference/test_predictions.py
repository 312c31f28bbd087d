"""test.csv is read as it was written, or not at all; scores are numbers."""

import math

import pytest

from stages.core.inference.predictions import Prediction, read_predictions, write_predictions

ROWS = [
    Prediction("data/a.png", "apple", ["apple", "a,b"], [0.75, 0.25]),
    Prediction("data/b.png", "a,b", ["apple", "a,b"], [0.5, 0.5]),
]


@pytest.mark.parametrize("rows", [ROWS, []])
def test_what_is_written_is_read_back(tmp_path, rows):
    write_predictions(tmp_path / "test.csv", rows)
    assert read_predictions(tmp_path / "test.csv") == rows


WRONG = {
    "empty": lambda text: "",
    "cut in its last row": lambda text: text[:-12],
    "cut in a score": lambda text: text[:-1],
    "without a column": lambda text: text.replace(",class_1,", ",", 1),
    "with another column": lambda text: text.replace("score_2", "score_3"),
    "a page": lambda text: "<html>\n404\n</html>\n",
    "no score": lambda text: text.replace("0.75", "high"),
    "not a number": lambda text: text.replace("0.750000", "nan"),
    "another prediction": lambda text: text.replace("apple,apple,1,", "apple,pear,1,"),
    "an open quote": lambda text: text.replace('"', "", 1).replace("\n", '\n"'),
    "not UTF-8": lambda text: text.replace("apple", "\udcff"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_table_that_evaluate_cannot_have_written_is_refused(tmp_path, how):
    path = tmp_path / "test.csv"
    write_predictions(path, ROWS)
    path.write_bytes(WRONG[how](path.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="test.csv was cut or edited.*Run `dvc repro evaluate`"):
        read_predictions(path)


def test_a_missing_table_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="test.csv does not exist. Run `dvc repro evaluate`"):
        read_predictions(tmp_path / "test.csv")


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_that_are_no_numbers_make_no_prediction(score):
    with pytest.raises(FloatingPointError, match="a.png: the network computes NaN.*Lower train.lr"):
        Prediction.from_scores("a.png", ["apple", "pear"], [0.5, score])
