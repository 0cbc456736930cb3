"""Every error that Discern raises on purpose.

None of them knows about HTTP: `service.api.problems` maps each to a status and a problem type, and
a test checks that the map is complete.

::

    DiscernError
    |-- RequestError                 the caller can mend it
    |   |-- MalformedRequest         the body is not what its content type says
    |   |-- UnsupportedFormat        not an image format on the allow-list
    |   |-- NotAcceptable            no answer format that the caller accepts
    |   |-- TooLarge                 more bytes or pixels than the published limit
    |   |-- BrokenImage              the right format, but it does not decode
    |   |-- BadParameter             outside its published bounds
    |   |-- BodyTooSlow              the body did not arrive in time
    |   |-- ImageNotFetched          the address given for the image does not yield one
    |   |-- ModelNotFound            no such model or version
    |   |-- EmbeddingNotFound        nothing kept under that id, or no longer
    |   |-- JobNotFound              no such job of this caller, or no longer
    |   |-- JobHasNoResult           it is not finished, or was cancelled
    |   |-- IdempotencyKeyReused     the key stands for another request
    |   |-- Unauthenticated          no key, or one that is not known
    |   |-- Forbidden                a known key that may not do this
    |   `-- QuotaExceeded            this caller's share is used up for now
    |-- CapacityError                true of this moment, worth trying again
    |   |-- Overloaded               the queue is full
    |   |-- OutOfMemory              there is not enough memory for the image
    |   |-- JobsUnavailable          the store of jobs is full or cannot be written
    |   `-- Draining                 this process is shutting down
    |-- BackendError                 the inference server's side
    |   |-- BackendUnavailable       not reachable or not ready
    |   `-- BackendFailed            it answered with an error, or with the wrong tensors
    |-- DeadlineExceeded             the caller's time is used up; names the stage that used it
    |-- JobAbandoned                 the process ended again and again while working on it
    |-- ClientGone                   nobody waits for the answer any more
    |-- ArtefactError                a model folder that cannot be served
    `-- SettingsError                settings that contradict each other, or a file they name
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class DiscernError(Exception):
    """Base of every deliberate error. The message is fit for the caller to read."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def code(self) -> str:
        """Its name in metrics, logs and problem documents, such as ``"broken-image"``."""
        return re.sub(r"(?<=.)(?=[A-Z])", "-", type(self).__name__).lower()


class RequestError(DiscernError):
    """The request cannot be served as it stands; sending it again will not help."""


class MalformedRequest(RequestError):
    """The body is not what its content type says."""


class UnsupportedFormat(RequestError):
    """The bytes are no image format on the allow-list."""


class NotAcceptable(RequestError):
    """None of the answer formats is one that the caller accepts."""


class TooLarge(RequestError):
    """More bytes or pixels than the published limit.

    Parameters
    ----------
    detail : str
        What was too large, and the limit.
    limit : int
        The limit, in the unit that `detail` names.
    """

    def __init__(self, detail: str, *, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


class BrokenImage(RequestError):
    """The format is right, but the data is truncated or corrupt."""


class BadParameter(RequestError):
    """A parameter is outside its published bounds.

    Parameters
    ----------
    detail : str
        What was wrong, and what would be right.
    parameter : str
        Its name as the caller wrote it.
    """

    def __init__(self, detail: str, *, parameter: str) -> None:
        super().__init__(detail)
        self.parameter = parameter


class BodyTooSlow(RequestError):
    """The body did not arrive in the time there is for it."""


class ImageNotFetched(RequestError):
    """The address given for the image is not allowed, or does not yield an image."""


class ModelNotFound(RequestError):
    """No model, or no version of it, of that name."""


class EmbeddingNotFound(RequestError):
    """Nothing is kept under that id, or no longer: the image has to be sent again."""


class JobNotFound(RequestError):
    """The caller has no job of that id, or no longer."""


class JobHasNoResult(RequestError):
    """The job is not finished, or was cancelled."""


class IdempotencyKeyReused(RequestError):
    """The key stands for another request: a new one needs a key of its own."""


class Unauthenticated(RequestError):
    """No API key, or one that is not known."""


class Forbidden(RequestError):
    """The key is known, but may not do this."""


class CapacityError(DiscernError):
    """True of this moment only.

    Parameters
    ----------
    detail : str
        What is short.
    retry_after_s : float
        When it is worth trying again, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class QuotaExceeded(RequestError):
    """The caller's share is used up for now.

    Parameters
    ----------
    detail : str
        Which quota.
    retry_after_s : float
        When the share grows again, in seconds.
    headers : mapping of str to str
        What else the caller should read about its share.
    """

    def __init__(
        self, detail: str, *, retry_after_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.headers = headers or {}


class Overloaded(CapacityError):
    """The queue is full: refused before any work was done."""


class OutOfMemory(CapacityError):
    """There is not enough memory for the image now; if nothing else runs, there never is."""

    def __init__(self) -> None:
        super().__init__("the image needs more memory than is free", retry_after_s=1.0)


class JobsUnavailable(CapacityError):
    """The store of jobs is full, cannot be written, or belongs to another process."""


class Draining(CapacityError):
    """The process finishes what it has and takes nothing new."""


class BackendError(DiscernError):
    """The inference server's side of things."""


class BackendUnavailable(BackendError):
    """The server is not reachable, not ready, or refuses for want of room.

    Parameters
    ----------
    detail : str
        What was seen.
    retry_after_s : float
        When it is worth trying again, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class BackendFailed(BackendError):
    """The server answered with an error, or with tensors that break the contract."""


class DeadlineExceeded(DiscernError):
    """The caller's time is used up.

    Parameters
    ----------
    detail : str
        How long was allowed.
    stage : str
        The stage that was running when time ran out.
    """

    def __init__(self, detail: str, *, stage: str) -> None:
        super().__init__(detail)
        self.stage = stage


class JobAbandoned(DiscernError):
    """The process ended again and again while working on this part of a job."""


class ClientGone(DiscernError):
    """The caller has hung up: the work is dropped."""


class ArtefactError(DiscernError):
    """A model folder cannot be served: the message says which part, and what would be right."""


class SettingsError(DiscernError):
    """Settings contradict each other, or name a file that cannot be used."""
