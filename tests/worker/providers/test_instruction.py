"""Instructions in words hold everything that the model needs."""

from millrace.worker.providers.instruction import schema_instruction, tool_instruction
from millrace.worker.providers.protocol import Tool


def test_an_instruction_holds_the_description_and_the_schema_as_json() -> None:
    schema = {"type": "object", "properties": {"größe": {"type": "integer"}}}
    instruction = tool_instruction(Tool("measure", "Measures a mill.", schema))
    assert instruction == f"Measures a mill. {schema_instruction(schema)}"
    assert instruction.endswith('\n{"type": "object", "properties": {"größe": {"type": "integer"}}}')
