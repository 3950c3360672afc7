"""The page's libraries: npm packages that `millrace-assets` installs and the web tier serves as they are.

The law of this room: the lock file fixes every byte, `files.json` names the files that are served, and no build step
changes them.
"""
