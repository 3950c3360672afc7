"""The system that `run.py` starts: its programs, and the process that keeps them running.

The law of this room: the standard library only. Each program is started in its own process group, is ended by the
process that started it, and, if that one was killed, by its reaper.

topology, programs             the plan: its programs, their ports and environments
lifecycle                      the system's life, from the start to the end
supervisor, orphan_reaper      keep programs running, and end them, also after the supervisor was killed
state_directory                its record, its secrets, its logs
ports, probes                  free ports; whether a program answers
terminal_reader                prints one answer as it comes
"""
