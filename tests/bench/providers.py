"""The cost of a delta in a provider, from the socket to the text, beside the vendor's own SDK."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.systems import PEERS
from tests.client import emulate
from tests.emulator_process import ROOT, EmulatorProcess

_CASES = (
    ("OpenAI, chat", "chat", "openai's SDK"),
    ("OpenAI, responses", "responses", "openai's SDK"),
    ("Gemini", "gemini", "google-genai"),
    ("Anthropic", "anthropic", "anthropic's SDK"),
    ("Bedrock, InvokeModel", "bedrock-invoke", "boto3"),
)
_CHARS, _RATE = 5, 50


@scenario("providers", "100 answers × 50 deltas/s: a provider beside the vendor's SDK", compared="CPU µs/delta")
def providers(ground: ScenarioContext) -> Iterator[Row]:
    """Read the same streams of the local endpoint with both, each in a process of its own."""
    ground.notes.update({name: version(name) for name in ("openai", "google-genai", "anthropic", "boto3")})
    answers, seconds = (3, 0.5) if ground.is_quick else (100, 4)
    message = emulate(tokens=round(_RATE * seconds), chars=_CHARS, rate=_RATE)
    with EmulatorProcess() as emulator:
        for case, wire, sdk in _CASES:
            for name, program in ((OURS, "wire_ours.py"), (sdk, "wire_sdk.py")):
                if ground.wants(name):
                    command = [sys.executable, str(PEERS / program), wire, emulator.url]
                    command += [str(answers), message]
                    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / '.package'}"}
                    environment |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
                    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                    assert run.returncode == 0, run.stderr
                    found = json.loads(run.stdout)
                    yield Row(name, {"CPU µs/delta": 1e6 * found["cpu"] / found["deltas"]}, case)
