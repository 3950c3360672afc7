"""Instructions in words, for models that cannot be forced to use a tool or held to a schema."""

import json
from typing import Any

from millrace.worker.providers.protocol import Tool


def tool_instruction(tool: Tool) -> str:
    """Return the instruction to write the tool's input as text."""
    return f"{tool.description} {schema_instruction(tool.schema)}"


def schema_instruction(schema: dict[str, Any]) -> str:
    """Return the instruction to answer in JSON that fits a schema."""
    return (
        "Reply with one JSON object that fits the schema below, and with nothing else: without a code fence, an "
        f"explanation or any other text.\n{json.dumps(schema, ensure_ascii=False)}"
    )
