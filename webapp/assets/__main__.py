"""`python -m millrace.webapp.assets`, the same as `millrace-assets`."""

from millrace.webapp.assets.command import main

if __name__ == "__main__":
    main()
