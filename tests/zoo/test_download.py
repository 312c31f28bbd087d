"""fetch-weights publishes verified weights, and a failure leaves no files behind."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import REPO, write_params
from download_host import Answer, DownloadHost
from mmengine.config import Config

from stages import fetch_weights
from stages.core.zoo.download import expected_sha256

RESNET18 = "/mmclassification/v0/resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth"
TENSORS = {"backbone.conv1.weight": torch.arange(6.0).reshape(2, 3), "head.fc.bias": torch.ones(2)}
OUTPUTS = {
    "data/weights/pretrained.pth",
    "data/weights/pretrained.py",
    "data/weights/source.json",
}


def saved(content: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


CHECKPOINT = saved({"meta": {"epoch": 100}, "state_dict": TENSORS})
SHA256 = hashlib.sha256(CHECKPOINT).hexdigest()


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    host = DownloadHost()
    yield host
    host.close()


@pytest.fixture
def root(project: Path) -> Path:
    shutil.copytree(REPO / "configs/models", project / "configs/models")
    return project


@pytest.fixture(params=["mim", "url"])
def source(request, root: Path, host: DownloadHost) -> str:
    """The weights.source of a project that downloads from `host`, once for each way."""
    write_params(root, weights=download_params(request.param, host))
    return request.param


def download_params(source: str, host: DownloadHost, sha256: str = SHA256) -> dict:
    where = {"mirror": host.url} if source == "mim" else {"url": host.url + RESNET18}
    return {"source": source, "model": "resnet18_8xb32_in1k", "sha256": sha256} | where


def files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def fetch_fails(root: Path, error: type, *messages: str) -> None:
    """fetch-weights fails with all of the messages, and leaves no new file."""
    before = set(root.rglob("*"))
    with pytest.raises(error) as raised:
        fetch_weights.main(root)
    for message in messages:
        assert message in str(raised.value)
    assert set(root.rglob("*")) - before <= {root / ".work", root / ".work/downloads"}


def published(root: Path) -> dict:
    return torch.load(root / "data/weights/pretrained.pth", weights_only=True)


def test_a_download_is_published_with_its_config_and_its_source(root, host, source, capfd):
    host.answers[RESNET18] = Answer(CHECKPOINT)
    fetch_weights.main(root)
    assert files(root) - {f".work/downloads/{SHA256}.pth"} == OUTPUTS | {
        "configs/models/efficientnet_lite0.py",
        "exclude.csv",
        "params.yaml",
    }
    assert published(root)["meta"] == {}
    torch.testing.assert_close(dict(published(root)["state_dict"]), TENSORS)
    config = Config.fromfile(root / "data/weights/pretrained.py", import_custom_modules=False)
    assert config.model.backbone.depth == 18 and config.data_preprocessor.mean[0] == 123.675
    assert json.loads((root / "data/weights/source.json").read_text()) == {
        "model": "resnet18_8xb32_in1k",
        "num_tensors": 2,
        "sha256": SHA256,
        "source": source,
        "url": host.url + RESNET18,
    }
    output = capfd.readouterr()
    assert output.err == ""  # no progress bar without a terminal
    assert output.out == (
        f"resnet18_8xb32_in1k from {source}, sha256 {SHA256[:8]}..., 2 tensors "
        "-> data/weights/pretrained.pth\n"
    )


def test_the_same_weights_produce_the_same_bytes(root, host):
    write_params(root, weights=download_params("url", host))
    host.answers[RESNET18] = Answer(CHECKPOINT)
    fetch_weights.main(root)
    first = {name: (root / name).read_bytes() for name in OUTPUTS}
    shutil.rmtree(root / ".work")
    fetch_weights.main(root)
    assert {name: (root / name).read_bytes() for name in OUTPUTS} == first


def test_an_earlier_download_is_not_requested_again(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT)
    fetch_weights.main(root)
    shutil.rmtree(root / "data")  # as DVC does before a stage
    host.close()
    fetch_weights.main(root)
    assert len(host.asked) == 1 and files(root) >= OUTPUTS


def test_a_partial_download_is_neither_trusted_nor_resumed(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT)
    for left_over in (
        root / f".work/downloads/{SHA256}.pth",
        root / ".work/downloads/new/download.pth",
        root / ".work/downloads/new" / Path(RESNET18).name,
    ):
        left_over.parent.mkdir(parents=True, exist_ok=True)
        left_over.write_bytes(CHECKPOINT[:500])
    fetch_weights.main(root)
    assert len(host.asked) == 1
    assert len(published(root)["state_dict"]) == 2
    assert (root / f".work/downloads/{SHA256}.pth").read_bytes() == CHECKPOINT
    assert not (root / ".work/downloads/new").exists()


def test_a_truncated_download_is_refused(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT[:500])
    found = hashlib.sha256(CHECKPOINT[:500]).hexdigest()
    fetch_fails(root, ValueError, host.url + RESNET18, f"500 bytes with sha256 {found}", SHA256)


def test_a_broken_connection_is_refused(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT[:500], length=len(CHECKPOINT))
    fetch_fails(root, RuntimeError, host.url + RESNET18, "cannot be downloaded", "500 bytes read")


def test_a_wrong_hash_is_refused(root, host, source):
    host.answers[RESNET18] = Answer(saved({"state_dict": {"other": torch.ones(1)}}))
    fetch_fails(root, ValueError, host.url + RESNET18, f"expected {SHA256}", "publisher")


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_page_is_not_used_as_a_checkpoint(root, host, source, status):
    host.answers[RESNET18] = Answer(b"<!DOCTYPE html><html>Sorry</html>", status=status)
    fetch_fails(root, RuntimeError, f"{status} ", host.url + RESNET18, "weights.mirror")


def test_a_login_page_with_status_200_is_reported_as_a_web_page(root, host, source):
    host.answers[RESNET18] = Answer(b"<!DOCTYPE html><html>Log in</html>")
    fetch_fails(root, ValueError, "found a web page of 34 bytes", f"expected {SHA256}")


def test_a_host_need_not_send_the_length(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT, length=None)
    fetch_weights.main(root)
    assert len(published(root)["state_dict"]) == 2


def test_without_a_length_the_hash_reveals_a_broken_connection(root, host, source):
    host.answers[RESNET18] = Answer(CHECKPOINT[:500], length=None)
    fetch_fails(root, ValueError, host.url + RESNET18, "found 500 bytes", f"expected {SHA256}")


def test_the_error_names_a_host_that_is_down(root, host, source):
    host.close()
    fetch_fails(root, RuntimeError, host.url + RESNET18, "cannot be downloaded", "weights.source: path")


def test_a_redirect_is_followed_to_http_only(root, host):
    write_params(root, weights=download_params("url", host))
    host.answers["/moved.pth"] = Answer(CHECKPOINT)
    host.answers[RESNET18] = Answer(b"", status=302, location=f"{host.url}/moved.pth")
    fetch_weights.main(root)
    shutil.rmtree(root / ".work")
    shutil.rmtree(root / "data")
    host.answers[RESNET18] = Answer(b"", status=302, location=(root / "params.yaml").as_uri())
    fetch_fails(root, RuntimeError, "cannot be downloaded", "file://")


def test_without_weights_sha256_the_hash_is_in_the_name(root, host):
    host.answers[RESNET18] = Answer(CHECKPOINT)
    write_params(root, weights=download_params("mim", host, sha256=""))
    fetch_fails(root, ValueError, f"with sha256 {SHA256}", "expected fbbb1da6...")


def test_eight_digits_of_the_hash_in_upper_case_are_enough(root, host):
    host.answers[RESNET18] = Answer(CHECKPOINT)
    write_params(root, weights=download_params("mim", host, SHA256[:8].upper()))
    fetch_weights.main(root)
    fetch_weights.main(root)
    assert len(host.asked) == 1


def test_expected_digits_come_from_the_parameter_or_the_name():
    assert expected_sha256("resnet18-f37072fd.pth", "") == "f37072fd"
    assert expected_sha256("resnet18-f37072fd.pth", "AB" * 4) == "abababab"
    for name in ("resnet18_20210831.pth", "model.pth?x=-f37072fd", "model-f37072f.pth"):
        with pytest.raises(ValueError, match="has no SHA-256 digits in its name.*weights.sha256"):
            expected_sha256(name, "")
    with pytest.raises(ValueError, match="weights.sha256 is 'f370'; expected 8 to 64 hex digits"):
        expected_sha256("resnet18-f37072fd.pth", "f370")


def test_a_mirror_may_have_a_path_and_a_final_slash(root, host):
    host.answers["/openmmlab" + RESNET18] = Answer(CHECKPOINT)
    params = download_params("mim", host) | {"mirror": f"{host.url}/openmmlab/"}
    write_params(root, weights=params)
    fetch_weights.main(root)
    assert host.asked == ["/openmmlab" + RESNET18]


@pytest.mark.parametrize("source", ["mim", "none"])
def test_the_error_for_a_misspelled_model_suggests_similar_names(root, host, source):
    misspelled = download_params("mim", host) | {"source": source, "model": "resnet18_8xb32_in1"}
    write_params(root, weights=misspelled)
    fetch_fails(
        root, ValueError, "'resnet18_8xb32_in1'", "resnet18_8xb32_in1k", "python -m stages list_models"
    )
    assert host.asked == []


@pytest.mark.parametrize(
    "model, message",
    [
        ("efficientnet_lite0", "comes with weights.source: package"),
        ("hivit-tiny-p16_16xb64_in1k", "has no checkpoint to download"),
        ("blip-base_3rdparty_caption", "is a BlipCaption, not an ImageClassifier"),
        ("resnet101-csra_1xb16_voc07-448px", "(CSRAClsHead) cannot be resized"),
        ("replknet-31B_3rdparty_in1k", "config of replknet-31B_3rdparty_in1k cannot be read"),
    ],
)
def test_an_unsupported_model_is_refused_before_any_request(root, host, model, message):
    write_params(root, weights=download_params("mim", host) | {"model": model})
    fetch_fails(root, ValueError, message)
    assert host.asked == []


def test_an_invalid_address_is_refused(root):
    params = {"source": "url", "sha256": SHA256}
    for url in ("download.openmmlab.com/x.pth", "file:///etc/hostname", "http://"):
        write_params(root, weights=params | {"url": url})
        fetch_fails(root, RuntimeError, f"{url} cannot be downloaded")


def test_the_package_contains_efficientnet_lite0(root, capsys):
    write_params(root, weights={"source": "package", "model": "efficientnet_lite0"})
    fetch_weights.main(root)
    assert capsys.readouterr().out.startswith(
        "efficientnet_lite0 from package, sha256 57934424..., 296 tensors"
    )
    assert published(root)["state_dict"]["head.fc.weight"].shape == (1000, 1280)
    config = Config.fromfile(root / "data/weights/pretrained.py", import_custom_modules=False)
    assert config.custom_imports.imports == ["stages.core.networks.efficientnet_lite"]
    assert config.data_preprocessor.std == [128.0, 128.0, 128.0]
    assert not files(root / ".work/downloads")


def test_the_package_has_no_other_model(root):
    write_params(root, weights={"source": "package", "model": "resnet18_8xb32_in1k"})
    fetch_fails(root, ValueError, "contains only efficientnet_lite0", "weights.source: mim")


@pytest.mark.parametrize(
    "body",
    [
        saved(TENSORS),
        saved({"state_dict": TENSORS, "ema_state_dict": {}}),
        saved({"state_dict": TENSORS}, legacy=True),
    ],
    ids=["tensors", "state_dict", "before torch 1.6"],
)
def test_weights_from_a_path_are_not_copied_or_changed(root, body):
    (root / "my.pth").write_bytes(body)
    params = {"source": "path", "model": "resnet18_8xb32_in1k", "path": "my.pth"}
    write_params(root, weights=params | {"sha256": hashlib.sha256(body).hexdigest()[:12]})
    fetch_weights.main(root)
    torch.testing.assert_close(dict(published(root)["state_dict"]), TENSORS)
    assert (root / "my.pth").read_bytes() == body and not files(root / ".work/downloads")

    write_params(root, weights=params | {"sha256": "00000000", "path": str(root / "my.pth")})
    fetch_fails(root, ValueError, "my.pth: found", "expected 00000000...")
    write_params(root, weights=params | {"sha256": "00000000", "path": "gone.pth"})
    fetch_fails(root, FileNotFoundError, "weights.path is gone.pth", str(root / "gone.pth"))


def test_without_weights_the_models_config_is_still_written(root, capsys):
    write_params(root, weights={"source": "none", "model": "resnet18_8xb32_in1k"})
    fetch_weights.main(root)
    assert dict(published(root)) == {"meta": {}, "state_dict": {}}
    source = json.loads((root / "data/weights/source.json").read_text())
    assert source["sha256"] == source["url"] == "" and source["num_tensors"] == 0
    assert "from scratch" in capsys.readouterr().out


def test_a_failure_keeps_the_previous_outputs(root, host):
    write_params(root, weights={"source": "none"})
    fetch_weights.main(root)
    before = {name: (root / name).read_bytes() for name in OUTPUTS}
    write_params(root, weights=download_params("url", host))
    fetch_fails(root, RuntimeError, "404")
    assert {name: (root / name).read_bytes() for name in OUTPUTS} == before
