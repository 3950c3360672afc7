"""HTTP as all wires use it: one client over urllib3, and the decoders of bodies, lines and errors.

It knows neither models nor any provider. A wire gives it a URL and a JSON body, and reads pieces, events or one object.
`client.py` and `body.py` do the I/O; all other files are pure.
"""
