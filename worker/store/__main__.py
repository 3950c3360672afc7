"""`python -m millrace.worker.store` is the command `millrace-migrate`."""

from millrace.worker.store.command import main

main()
