"""The Celery app: `celery -A millrace.worker.app worker --pool gevent --concurrency 500`."""

import sys

from millrace.worker import task_transport
from millrace.worker.contract.queue import make_celery
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load

try:
    settings = load()
except SettingError as error:
    sys.stderr.write(f"millrace: {error}\n")
    sys.exit(2)

task_transport.install()
app = make_celery(settings)
app.conf.update(
    imports=("millrace.worker.tasks",),
    worker_consumer="millrace.worker.task_consumer:TaskConsumer",
    # Running generations continue while the broker is unavailable: their logs and leases do not depend on it.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_prefetch_count_reduction=False,
)
