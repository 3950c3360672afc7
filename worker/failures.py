"""What ends an answer with an `error` event: the protocol's codes, each with its words, safe to show to anybody."""

from millrace.worker.errors import GenerationFailed

_WORDS = {
    "provider_unavailable": "The model could not be reached, or stopped in the middle. Please ask again.",
    "provider_throttled": "The model is busy just now. Please ask again in a moment.",
    "provider_timeout": "The model has said nothing for too long. Please ask again.",
    "provider_rejected": "The model did not accept this request, or answered with what can't be read.",
    "content_filtered": "The answer was stopped by a content filter.",
    "context_too_long": "The conversation is too long for this model.",
    "truncated": "The model's answer broke off before its end.",
    "limit_exceeded": "The answer has reached the limit of its length or time.",
    "empty_answer": "The model answered with nothing. Please ask again.",
    "internal": "Something went wrong on our side. Please ask again.",
}


class AnswerFailed(GenerationFailed):
    """Ends a generation with one of the error codes above.

    `may_ask_again` tells whether the same may be tried at once, as long as nothing of the answer has come.
    """

    def __init__(self, code: str, *, retryable: bool, may_ask_again: bool = False) -> None:
        super().__init__(code, _WORDS[code], retryable=retryable)
        self.may_ask_again = may_ask_again
