"""The report is a page that no name can break, and chooses its images by a stated rule."""

from html.parser import HTMLParser

import pytest

from stages.cam_report import select, target_class
from stages.core.inference.predictions import Prediction, read_predictions, write_predictions
from stages.core.report.page import Overlay, ReportedImage, report_page

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;'"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.text += data


def page(name: str) -> Page:
    overlays = [Overlay("000-gradcam.jpg", "gradcam", name)]
    image = ReportedImage(f"data/{name}.jpg", name, "other", 0.5, "000.jpg", overlays)
    return Page(report_page([image], ["backbone.layer4"], num_images=200, num_mistakes=30))


def test_hostile_names_stay_text():
    assert page(HOSTILE).tags == page("plain").tags
    assert "script" not in page(HOSTILE).tags and HOSTILE in page(HOSTILE).text
    assert all(set(image) == {"src", "alt", "loading"} for image in page(HOSTILE).images)


def test_images_are_numbered_files_beside_the_page_and_numbers_are_those_of_the_whole_split():
    shown = page("火龙果")
    assert [image["src"] for image in shown.images] == ["000.jpg", "000-gradcam.jpg"]
    assert "200 test images, 30 mistakes, top-1 85.00 %. Shown: 1." in shown.text
    assert "火龙果, taken for other, score 0.500" in shown.text


def test_a_map_that_is_empty_is_said_in_words():
    overlays = [Overlay("", "gradcam", "apple")]
    image = ReportedImage("a.jpg", "apple", "apple", 0.5, "000.jpg", overlays)
    shown = Page(report_page([image], ["backbone.layer4"], num_images=20, num_mistakes=3))
    assert [image["src"] for image in shown.images] == ["000.jpg"]
    assert "no pixel spoke for apple" in shown.text


def test_a_report_without_images_says_why():
    shown = Page(report_page([], [], num_images=20, num_mistakes=20))
    assert "top-1 0.00 %. Shown: 0." in shown.text and shown.images == []
    assert "No test image is classified rightly" in shown.text


def row(path: str, label: str, prediction: str, score: float) -> Prediction:
    return Prediction(path, label, [prediction, "z"], [score, 0.0])


ROWS = [
    row("a.jpg", "x", "x", 0.9),
    row("b.jpg", "x", "y", 0.6),
    row("c.jpg", "y", "y", 0.7),
    row("d.jpg", "y", "x", 0.8),
]


@pytest.mark.parametrize(
    ("how", "count", "expected"),
    [("mistakes", 3, "dba"), ("mistakes", 9, "dbac"), ("correct", 9, "ac"), ("mistakes", 1, "d")],
)
def test_the_most_confident_come_first(how, count, expected):
    assert [r.path[0] for r in select(ROWS, how, count)] == list(expected)


def test_random_images_are_the_same_every_time_and_in_any_order_of_rows():
    assert select(ROWS, "random", 2) == select(ROWS[::-1], "random", 2)


def test_an_empty_list_says_what_to_run():
    with pytest.raises(ValueError, match="has no row. Run `dvc repro evaluate`"):
        select([], "mistakes", 3)


def test_the_target_is_the_prediction_the_label_or_one_class():
    classes = ["x", "y", "banana"]
    assert target_class(ROWS[1], "predicted", classes) == "y"
    assert target_class(ROWS[1], "label", classes) == "x"
    assert target_class(ROWS[1], "banana", classes) == "banana"
    with pytest.raises(ValueError, match="test.csv has the class 'y', and .* Run `dvc repro evaluate`"):
        target_class(ROWS[1], "predicted", ["x", "banana"])
    with pytest.raises(ValueError, match="target_category is 'bananna'; .* such as banana"):
        target_class(ROWS[1], "bananna", classes)


def test_predictions_are_read_back_as_written(tmp_path):
    rows = [row(HOSTILE, 'q"uote', "new\nline", 0.25), row("火龙果, 1.jpg", "x", "y", 0.125)]
    write_predictions(tmp_path / "test.csv", rows)
    assert read_predictions(tmp_path / "test.csv") == rows


def test_scores_are_ranked_and_ties_keep_the_order_of_classes():
    made = Prediction.from_scores("p", list("abcdefg"), [0.1, 0.3, 0.1, 0.3, 0.0, 0.2, 0.0], label=5)
    assert made.classes == ["b", "d", "f", "a", "c"] and made.label == "f" and not made.correct
