"""The Celery app: `celery -A millrace.worker.app worker --pool gevent --concurrency 500`."""

import sys

from millrace.worker.contract.queue import make_celery
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load

try:
    settings = load()
except SettingError as error:
    sys.stderr.write(f"millrace: {error}\n")
    sys.exit(2)

app = make_celery(settings)
app.conf.update(
    imports=("millrace.worker.tasks",),
    # What runs when the broker goes away goes on: its log and its lease are not the broker's.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_prefetch_count_reduction=False,
)
