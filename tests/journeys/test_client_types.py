"""The package `millrace-client` and the page's modules: installed by npm, compiled by TypeScript, measured."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from millrace import __version__
from tests.journeys.client_package import SOURCE, listed_files
from tests.journeys.npm_packages import NODE, NPM, NpmPackages

OPTIONS = {
    "strict": True,
    "noUncheckedIndexedAccess": False,
    "checkJs": True,
    "allowJs": True,
    "noEmit": True,
    "target": "es2023",
    "module": "nodenext",
    "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
    "types": [],
}
MAX_BYTES = 6 * 1024


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> NpmPackages:
    """The compiler and the bundler, with the client installed beside them."""
    source = Path(__file__).parent / "types"
    installed = NpmPackages(tmp_path_factory.mktemp("types"), source)
    install = [NODE, NPM, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--install-links", SOURCE]
    subprocess.run(install, cwd=installed.directory, check=True, capture_output=True)
    return installed


def compile_with(packages: NpmPackages, directory: Path, *files: str) -> list[str]:
    """Return the compiler's complaints about files of a directory."""
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": files}))
    compiler = packages.directory / "node_modules/typescript/bin/tsc"
    run = subprocess.run([NODE, compiler, "-p", directory], check=False, capture_output=True, text=True)
    return [line for line in run.stdout.splitlines() if "error" in line]


def test_npm_installs_the_package_with_its_files_and_no_others(packages: NpmPackages) -> None:
    folder = packages.directory / "node_modules/millrace-client"
    installed = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert installed == [path.relative_to(SOURCE) for path in listed_files()]
    assert json.loads((folder / "package.json").read_text("utf-8"))["version"] == __version__
    script = packages.add('import * as all from "millrace-client"; console.log(JSON.stringify(Object.keys(all)))')
    assert packages.run(script) == ["Connection", "Millrace", "MillraceError", "START", "fold", "follow"]


def test_program_with_the_package_compiles_and_its_mistakes_are_found(packages: NpmPackages) -> None:
    assert compile_with(packages, packages.directory, "sample.ts") == []


def test_declarations_match_the_code(packages: NpmPackages, tmp_path: Path) -> None:
    for path in listed_files():
        (tmp_path / path.relative_to(SOURCE)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(SOURCE))
    shutil.copy(SOURCE / "client.js", tmp_path / "implementation.js")
    shutil.copy(packages.directory / "matches.ts", tmp_path)
    assert compile_with(packages, tmp_path, "**/*") == []


def test_types_of_the_modules_are_whole(packages: NpmPackages, tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path, dirs_exist_ok=True)
    complaints = compile_with(packages, tmp_path, "**/*.js", "**/*.d.ts")
    assert [line.partition(f"{tmp_path.name}/")[2] or line for line in complaints] == []


def test_client_is_small_and_touches_no_document(packages: NpmPackages, tmp_path: Path) -> None:
    """The size is that of the bundle, minified and compressed."""
    bundle = tmp_path / "bundle.js"
    esbuild = packages.directory / "node_modules/esbuild/bin/esbuild"
    command = [NODE, esbuild, SOURCE / "client.js", "--bundle", "--minify", "--format=esm", f"--outfile={bundle}"]
    subprocess.run(command, check=True, capture_output=True)
    code = bundle.read_bytes()
    assert len(gzip.compress(code)) <= MAX_BYTES
    assert not [name for name in (b"document", b"window", b"localStorage") if name in code]
