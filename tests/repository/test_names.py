"""Names are data: one list of names goes through every file, and comes back as it was."""

import csv
import io
import json
import random
import shutil
import sys
import unicodedata
from html.parser import HTMLParser

import pandas as pd
import pytest
import torch
from conftest import REPO, draw_image, write_params
from mmengine.config import Config
from mmpretrain import get_model
from nasty_names import NASTY
from toy_runner import TOY

from stages import cam_report, evaluate, prepare_dataset, render_config
from stages.commands import predict
from stages.core.files import csv_text, first_ten, write_json, write_text
from stages.core.images.lists import read_classes, read_list
from stages.core.inference.predictions import read_predictions
from stages.core.layout import Layout
from stages.core.names import acts, csv_cell, escape, shown, unescape
from stages.core.networks.checkpoint import read_checkpoint, write_checkpoint
from stages.core.provenance.markdown import cell
from stages.core.seals import sealed_text

CLASSES = sorted({unicodedata.normalize("NFC", name) for name in NASTY})


# --- the characters ---------------------------------------------------------------------------------


def test_every_character_round_trips_and_none_that_acts_remains():
    every = [chr(number) for number in range(sys.maxunicode + 1)]
    for sign in every:
        assert unescape(escape(sign)) == unescape(csv_cell(sign)) == sign
        assert not any(map(acts, shown(sign)))
    random.seed(0)
    letters = "\\=xnu;0aU1\n\r\t\u202e\x1b-\udc80"
    for _ in range(10_000):
        name = "".join(random.choices(letters, k=random.randrange(10)))
        assert unescape(escape(name)) == unescape(csv_cell(name)) == name


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("apple", "apple"),
        ("火龙果", "火龙果"),
        ("سیب\u200cزمینی", "سیب\u200cزمینی"),  # the joiner is part of the spelling
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r", "a\\nb\\r"),
        ("\u202egnp", "\\u202egnp"),
        ("\u200b", "\\u200b"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\udce9"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_what_acts_is_shown_as_python_writes_it(name, seen):
    assert shown(name) == shown(seen) == seen
    assert first_ten([name], str) == seen


@pytest.mark.parametrize(
    ("name", "written"),
    [("=1+1", "\\x3d1+1"), ("@a", "\\x40a"), ("-1", "\\x2d1"), ("a;+1", "a;\\x2b1"), ("a-b", "a-b")],
)
def test_no_cell_starts_a_formula(name, written):
    assert csv_cell(name) == written


def test_a_table_has_a_line_for_each_row_and_pandas_reads_its_names():
    text = csv_text(["name", "number"], [[name, -0.5] for name in NASTY])
    assert text.count("\n") == len(NASTY) + 1 and text.endswith(",-0.5\n")
    assert [unescape(row[0]) for row in csv.reader(text.splitlines())][1:] == NASTY
    table = pd.read_csv(io.StringIO(text), dtype={"name": str}, keep_default_na=False)
    assert list(table["name"].map(unescape)) == NASTY


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_cell_of_markdown_is_one_line_of_text(name):
    text = cell(name)
    assert text.isprintable() or "\u200d" in text or "\u200c" in text
    inside = text.removeprefix("<code>").removesuffix("</code>")
    assert not set("|`<>*#@[]!$") & set(inside.replace("&#", ""))


# --- from the file system to the page ---------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Layout:
    """A scored run: a class of each name, with an image of that name and others in each."""
    # the images
    root = tmp_path_factory.mktemp("names")
    layout, variant = Layout(root), 0
    for name in NASTY:
        for file in (f"{name}.png", "1.png", "2.png", "3.png", "4.png", "5.png"):
            draw_image(
                root / "data/photos" / name / file, variant := variant + 1, variant % 7 / 7, (20, 16)
            )
    write_params(
        root,
        dataset={"path": "data/photos", "near_duplicates": 0},
        image={"size": 16, "resize": 16, "reduce": 0},
        train={"threads": 1},
        cam={"select": "random", "num_images": 20},
        runtime={"workers": 0, "device": "cpu"},
    )

    # a toy network that has learned nothing
    (root / "configs").mkdir()
    shutil.copy(REPO / "configs/finetune.py", root / "configs")
    write_json(layout.weights_source, {"source": "none", "model": "toy"})
    write_text(layout.pretrained_config, sealed_text(Config(TOY).pretty_text + "\n", "pretrained.py"))
    prepare_dataset.main(root)
    render_config.main(root)
    torch.manual_seed(0)
    model = get_model(Config.fromfile(layout.rendered_config), pretrained=False)
    meta = {"dataset_meta": {"classes": read_classes(layout.classes)}}
    write_checkpoint(layout.checkpoint, model.state_dict(), meta)
    evaluate.main(root)
    cam_report.main(root)
    return layout


def test_class_names_are_the_folders_names_in_every_file(run):
    assert read_classes(run.classes) == CLASSES
    dataset = Config.fromfile(run.rendered_config).train_dataloader.dataset.dataset
    assert list(dataset.metainfo.classes) == CLASSES
    assert read_checkpoint(run.checkpoint, "")["meta"]["dataset_meta"]["classes"] == CLASSES


def test_every_image_is_listed_and_scored_under_its_own_name(run):
    listed = [
        image for name in ("train", "val", "test") for image in read_list(getattr(run, f"{name}_list"))
    ]
    photos = run.root / "data/photos"
    there = {path.relative_to(run.root).as_posix() for path in photos.rglob("*") if path.is_file()}
    assert {image.path for image in listed} == there and len(listed) == len(there)
    scored = read_predictions(run.predictions)
    assert [row.path for row in scored] == [image.path for image in read_list(run.test_list)]
    for row in scored:
        folder = row.path.split("/")[2]
        assert row.label == unicodedata.normalize("NFC", folder) and set(row.classes) < set(CLASSES)


class Text(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_name_and_none_acts(run):
    page = Text((run.cam_report / "index.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert not any(map(acts, page.text.replace("\n", "")))
    scored = {row.path: row for row in read_predictions(run.predictions)}
    found = [row for path, row in scored.items() if shown(path) in page.text.split("\n")]
    assert len(found) == 20 and all(shown(row.label) in page.text for row in found)


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_predict_names_every_file_and_class(run, kind):
    files = sorted(path for path in (run.root / "data/photos").glob("*/1.png"))
    unread: list[str] = []
    text = "".join(predict.main([str(path) for path in files], unread, top=2, kind=kind, root=run.root))
    assert not unread and not any(map(acts, text.replace("\n", "")))
    if kind == "table":
        assert [line.split("  ")[0].rstrip() for line in text.splitlines()] == [
            shown(str(file)) for file in files
        ]
        return
    if kind == "csv":
        rows = [[unescape(cell) for cell in row] for row in csv.reader(text.splitlines())][1:]
        named = [(row[0], [row[1], row[3]]) for row in rows]
    else:
        named = [(row["path"], [c["name"] for c in row["classes"]]) for row in json.loads(text)]
    assert [path for path, _ in named] == list(map(str, files))
    assert all(set(classes) < set(CLASSES) for _, classes in named)
