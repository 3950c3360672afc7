"""The AI SDK's example as its page says: installed, built, and served in front of a system."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from millrace.webapp.facades.aisdk.dialect import SdkVersion
from tests.client import wait_for
from tests.journeys.npm_packages import NODE, NpmPackages
from tests.system import ROOT
from tests.valkey import free_port

EXAMPLE = ROOT / "deploy/examples/aisdk"
SECONDS = 120
_CONFIG = """
import config from "./vite.config.js";
const alias = { "@ai-sdk/react": "%(packages)s/ai-react6", ai: "%(packages)s/ai6" };
export default { ...config, resolve: { alias, dedupe: ["react", "react-dom"] }, build: { outDir: "dist6" } };
"""


@contextmanager
def serving(example: NpmPackages, version: SdkVersion, url: str) -> Generator[str]:
    """Serve the built example with its proxy to the system at `url`; yields the page's address."""
    with previewing(example, _vite(version, "preview"), {**os.environ, "MILLRACE_URL": url}) as page:
        yield f"{page}/?sdk={version}"


@contextmanager
def previewing(example: NpmPackages, command: list[str | Path], environment: dict[str, str]) -> Generator[str]:
    """Serve a built example by a command of vite's, on a free port; yields its origin."""
    port = free_port()
    command = [*command, "--host", "127.0.0.1", "--port", str(port), "--strictPort"]
    process = subprocess.Popen(command, cwd=example.directory, env=environment, stdout=subprocess.DEVNULL)
    page = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(page), SECONDS, "the example")
        yield page
    finally:
        process.terminate()
        process.wait()


def build(example: NpmPackages, version: SdkVersion, others: NpmPackages) -> None:
    """Build the example, with version 6 of the SDK from the other packages where it is asked for."""
    if version == 6:
        config = _CONFIG % {"packages": others.directory / "node_modules"}
        (example.directory / "vite6.config.js").write_text(config, "utf-8")
    subprocess.run(_vite(version, "build"), cwd=example.directory, check=True, capture_output=True)


def _vite(version: SdkVersion, *arguments: str) -> list[str | Path]:
    config = "vite.config.js" if version == 7 else "vite6.config.js"
    return [NODE, "node_modules/vite/bin/vite.js", *arguments, "--config", config]


def _answers(page: str) -> bool:
    try:
        return httpx.get(page, trust_env=False, verify=False).status_code == 200
    except httpx.TransportError:
        return False
