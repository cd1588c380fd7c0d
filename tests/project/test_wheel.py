"""The package as it is installed from a wheel: its files, its commands, its types."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import editor_models
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs/hooks"))

import pages  # noqa: E402

PROGRAMS = sorted(p.name for p in (ROOT / "bin").iterdir() if p.is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what git knows, so that nothing else gets in."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    built = subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", f"--wheel-dir={target}", str(source)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return next(target.glob("*.whl"))


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = next(n.split("/")[0] for n in names if n.endswith(".dist-info/METADATA"))
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tf_structvae").rglob("*.py")}
    static = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tf_structvae").rglob("static/*")}
    share = info.replace("dist-info", "data/data/share/tf_structvae/")
    configs = {f"{share}configs/{p.name}" for p in (ROOT / "configs").glob("*.py")}
    assert len(static) > 3
    assert len(configs) > 8
    demo = {
        f"{share}{p.relative_to(ROOT).as_posix()}"
        for p in (ROOT / "saved_models/demo").rglob("*")
        if p.is_file()
    }
    assert len(demo) > 4
    wanted = modules | static | configs | demo | {"tf_structvae/py.typed"}
    assert {n for n in names if not n.startswith(info)} == wanted


def test_wheel_declares_a_command_for_each_program(wheel):
    with zipfile.ZipFile(wheel) as opened:
        name = next(n for n in opened.namelist() if n.endswith("entry_points.txt"))
        text = opened.read(name).decode()
    found = dict(re.findall(r"^(structvae-\S+) = (\S+)$", text, re.M))
    assert found == {f"structvae-{p}": f"tf_structvae.programs.{p}:run" for p in PROGRAMS}
    modules = {p.stem for p in (ROOT / "tf_structvae/programs").glob("*.py")}
    shared = {"__init__", "bulk_flags", "command", "quiet_start", "runner_flags"}
    assert modules - set(PROGRAMS) == shared


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The commands of the wheel, in an environment whose other packages are this one's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    python = folder / "bin/python"
    subprocess.run([*pip, f"--python={python}", "install", "--no-deps", str(wheel)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = folder / f"lib/{version}/site-packages"
    # after its own; without the .pth files there, one of which names this source
    others = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    (ours / "others.pth").write_text("\n".join(others) + "\n")
    # that of setuptools gives TFP `distutils`, which Python has lost with 3.12
    for hook in Path(others[0]).glob("distutils-precedence.pth"):
        shutil.copy(hook, ours / "others_then_distutils.pth")
    return folder / "bin"


def start(command, *words, cwd, **options):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(command), *words], cwd=cwd, env=environment, capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_installed_command_helps(installed, program, tmp_path):
    done = start(installed / f"structvae-{program}", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    source, *shared = pages.sources(program)
    assert done.stdout.startswith(ast.get_docstring(ast.parse(source)))
    source = "".join([source, *shared])
    named = set(re.findall(r"^ *--(?:\[no\])?(\w+):", done.stdout, re.M))
    assert named == set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source)) != set()


def test_installed_package_is_the_wheels_and_finds_its_configs(installed, tmp_path):
    code = "import tf_structvae; print(tf_structvae.__file__)"
    found = start(installed / "python", "-c", code, cwd=tmp_path)
    assert Path(found.stdout.strip()).is_relative_to(installed.parent)
    # refused by the config's own check, so the file was found
    done = start(
        installed / "structvae-train",
        "--config", "configs/smoke.py", "--config.train.steps=-3", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "config.train.steps = -3: must be a positive integer" in done.stderr
    code = "from tf_structvae.utilities import shipped; print(shipped.saved_models())"
    models = Path(start(installed / "python", "-c", code, cwd=tmp_path).stdout.strip())
    assert models.is_relative_to(installed.parent.resolve())
    assert (models / "demo/1/saved_model.pb").is_file()
    refused = start(installed / "structvae-export", "--workdir=nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert "workdir nowhere holds no run" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_installed_package_opens_the_demonstration_model(installed, tmp_path):
    code = "import tf_structvae as sv; print(sv.load('demo').sample(2).shape)"
    found = start(installed / "python", "-c", code, cwd=tmp_path)
    assert found.stdout == "(2, 64, 64, 3)\n", found.stderr


@pytest.mark.long
def test_installed_editor_serves_its_page(installed, tmp_path):
    editor_models.save(tmp_path / "waves")
    process = subprocess.Popen(
        [installed / "structvae-edit", "--model=waves", "--port=0", "--noopen"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        url = re.search(r"http://\S+", process.stdout.readline())[0]

        def read(path):
            return urllib.request.urlopen(f"{url}/{path}").read().decode()

        links = re.findall(r'(?:src|href)="([\w./]+\.(?:js|css|svg))"', read(""))
        assert {"main.js", "theme.css", "icon.svg"} <= set(links)
        for name in links:
            assert read(name) == (ROOT / "tf_structvae/serving/editor/static" / name).read_text()
        assert json.loads(read("editor/model"))
    finally:
        process.kill()
        process.wait()
