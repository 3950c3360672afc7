"""The images of an answer: a worker keeps their bytes in files, and the log refers to them."""

from millrace.worker.contract.events import Image
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import OutputImage
from millrace.worker.settings.schema import Settings
from millrace.worker.store.image_files import ImageFiles, format_of

_log = get_logger(__name__)


class ImageKeeper:
    """Keeps images in the configured directory; those that cannot be kept are left out of the answer."""

    def __init__(self, settings: Settings) -> None:
        self._files = ImageFiles(settings.images.directory)
        self._max_bytes = settings.images.max_bytes

    def keep(self, generation: str, image: OutputImage, bytes_before: int) -> Image | None:
        """Save an image of an answer that has images of `bytes_before` bytes; None, and a line in the log, if it can't.

        The first bytes decide which format it has, whatever the provider says.
        """
        data, known = image.data, format_of(image.data)
        if not self._files.is_on:
            reason = "MILLRACE_IMAGE_DIR is not set"
        elif known is None:
            reason = "it is neither PNG nor JPEG, GIF or WebP"
        elif bytes_before + len(data) > self._max_bytes:
            reason = "the answer's images are larger than MILLRACE_MAX_IMAGE_BYTES"
        else:
            try:
                saved = self._files.save(generation, data, known)
            except OSError as error:
                reason = f"it can't be saved: {error.strerror}"
            else:
                return Image(saved.id, saved.format, saved.bytes)
        _log.warning("image_left_out", generation=generation, bytes=len(data), reason=reason)
        return None
