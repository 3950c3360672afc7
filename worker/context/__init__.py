"""Context sources, and the prompt that is built from their results.

All sources run at once, each within its own time limit, and a source that fails never fails an answer. Text that others
wrote enters a prompt only escaped, as material, and never among the instructions. Every prompt fits the model's window.
"""
