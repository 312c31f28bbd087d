"""The tutorial's own case, for real: only its archive and its weights come from loopback.

The archive has the tutorial's shape and names (30 fruits in Chinese, train/ and val/), one image a class
and split. Of the 30 epochs of ResNet-18 at 224 pixels only 3 run here; tests/config/test_finetune_config.py
holds the preset to the tutorial's numbers.
"""

import csv
import hashlib
import json
import shutil
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import draw_image
from real_dvc import clone, executed, python, repro
from ruamel.yaml import YAML

from stages.core.images.lists import read_classes

pytestmark = pytest.mark.slow

EPOCHS = 3
FRUIT30 = [
    "哈密瓜",
    "圣女果",
    "山竹",
    "杨梅",
    "柚子",
    "柠檬",
    "桂圆",
    "梨",
    "椰子",
    "榴莲",
    "火龙果",
    "猕猴桃",
    "石榴",
    "砂糖橘",
    "胡萝卜",
    "脐橙",
    "芒果",
    "苦瓜",
    "苹果-红",
    "苹果-青",
    "草莓",
    "荔枝",
    "菠萝",
    "葡萄-白",
    "葡萄-红",
    "西瓜",
    "西红柿",
    "车厘子",
    "香蕉",
    "黄瓜",
]


class Host(SimpleHTTPRequestHandler):
    """Serves a folder with ETags, which DVC asks for, as object stores do."""

    def end_headers(self):
        self.send_header("ETag", f'"{hashlib.md5(self.path.encode()).hexdigest()}"')
        super().end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Host, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def make_archive(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(FRUIT30):
            for split in ("train", "val"):
                file = draw_image(
                    folder / f"{split}.jpg", number * 2 + (split == "val"), number / 30, (300, 260)
                )
                archive.write(file, f"fruit30_split/{split}/{name}/{number}.jpg")


def make_weights(folder: Path) -> str:
    """A ResNet-18 where mim looks for it, random, as no machine here has the real one; its sha256."""
    import torch
    from mmpretrain import get_model

    torch.manual_seed(0)
    file = folder / "mmclassification/v0/resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth"
    file.parent.mkdir(parents=True)
    torch.save({"state_dict": get_model("resnet18_8xb32_in1k").state_dict(), "meta": {}}, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def tutorial(host, tmp_path_factory) -> Path:
    served, address = host
    make_archive(served / "fruit30_split.zip", served)
    sha256 = make_weights(served)
    folder = clone(tmp_path_factory.mktemp("fruit30"))

    python(
        folder, "-m", "stages", "use_preset", "fruit30-resnet18", "--url", f"{address}/fruit30_split.zip"
    )
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["weights"] |= {"mirror": address, "sha256": sha256}
    params["train"]["epochs"] = EPOCHS
    yaml.dump(params, folder / "params.yaml")
    repro(folder)
    return folder


def test_the_archive_is_imported_and_versioned(tutorial):
    pointer = YAML(typ="safe").load(tutorial / "data/fruit30_split.zip.dvc")
    assert pointer["deps"][0]["path"].endswith("/fruit30_split.zip")
    counts = json.loads((tutorial / "metrics/dataset.json").read_text())
    assert (counts["num_classes"], counts["train"], counts["val"], counts["test"]) == (30, 30, 30, 30)
    classes = read_classes(tutorial / "data/dataset/classes.txt")
    assert classes == sorted(FRUIT30)


def test_it_trains_with_the_tutorials_numbers(tutorial):
    rows = list(csv.DictReader((tutorial / "metrics/training.csv").open()))
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, EPOCHS + 1)]
    assert {float(row["lr"]) for row in rows} == {0.1}
    results = json.loads((tutorial / "metrics/evaluation.json").read_text())
    assert {"top1", "top5"} < set(results) and results["num_images"] == 30


def test_predictions_and_report_speak_chinese(tutorial):
    rows = list(csv.DictReader((tutorial / "data/predictions/test.csv").open(encoding="utf-8")))
    assert sorted(row["label"] for row in rows) == sorted(FRUIT30)
    page = (tutorial / "metrics/cam_report/index.html").read_text(encoding="utf-8")
    assert sum(name in page for name in FRUIT30) >= 10  # 16 images are shown


def test_predict_answers_in_chinese_as_the_tutorials_inferencer_does(tutorial):
    row = next(csv.DictReader((tutorial / "data/predictions/test.csv").open(encoding="utf-8")))
    output = python(tutorial, "-m", "stages", "predict", row["path"], "--format", "json")
    answer = json.loads(output)[0]
    assert answer["classes"][0]["name"] == row["prediction"] in FRUIT30

    asked = (
        "import sys; from mmpretrain import ImageClassificationInferencer as I;"
        "print('\\n', I('configs/rendered.py', pretrained='data/checkpoints/best.pth', device='cpu')"
        "(sys.argv[1])[0]['pred_class'])"
    )
    assert python(tutorial, "-c", asked, row["path"]).splitlines()[-1].strip() in FRUIT30


def test_a_second_run_runs_nothing_and_the_archive_is_unpacked_again_where_needed(tutorial):
    assert executed(repro(tutorial)) == []
    before = (tutorial / "dvc.lock").read_bytes()
    shutil.rmtree(tutorial / ".work")
    assert executed(repro(tutorial, "--single-item", "--force", "evaluate")) == ["evaluate"]
    assert (tutorial / "dvc.lock").read_bytes() == before
