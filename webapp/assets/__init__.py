"""The page's libraries: npm packages that `millrace-assets` installs and the web tier serves as they are.

The law of this room: the lock file fixes every byte, `files.json` names the files that are served, and no build step
changes them. The page's own scripts work as they are; `bundles.py` also makes one small file of each of their entries.
"""
