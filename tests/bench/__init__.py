"""Millrace beside its peers, on one machine, in one run: `python3 deploy/test.py --bench [NAME ...]`.

scenario    what a scenario is, and the list of them: any module of this folder may add some
table       medians over the rounds, ratios, the table
results     the JSON files in results/, with machine, versions and settings
plot        the drawing for the README
processes   what a tree of processes has cost: CPU, memory, descriptors
"""
