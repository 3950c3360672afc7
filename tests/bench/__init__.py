"""Millrace beside its peers, on one machine, in one run: `python3 deploy/test.py --bench [NAME ...]`.

scenario    what a scenario is, and the list of them: any module of this folder may add some
table       medians over the rounds, ratios, the table
results     the JSON files in results/, with machine, versions and settings
plot        the drawing for the README
processes   what a tree of processes has cost: CPU, memory, descriptors

systems     the contestants: Millrace's real web, its peers (in peers/), and the floor, a bare loop of `send`
streaming   one contestant under one load; readers and publisher are the processes of the load, wire what they share
logs        logs that the real web follows, made by its API and claimed as a worker claims them

Scenarios of the relay: streams, idle, resume, growth, slow; of the whole system: flush, whole.
"""
