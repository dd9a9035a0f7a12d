"""One structured line per finished stage, as JSON on standard error. No patient data: callers pass none."""

import logging
import sys

import structlog
import structlog.tracebacks

log: structlog.stdlib.BoundLogger = structlog.get_logger("imaging_node")


def configure(level: str, *, part: str) -> None:
    """Set up logging for this process. `part`: receiver, worker, page or node."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(part=part)
    # Libraries speak through us, warnings and worse only: some of them log what they were sent.
    # Two that warn of every odd value they meet; what matters of it is in the status and in the reasons of the gate.
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)
    logging.captureWarnings(True)  # Python's own would go to standard error with the values that they quote


class _ToStructlog(logging.Handler):
    """Hands a library's record on by its origin and level; its text could quote a data set and is dropped."""

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        log.warning(
            "library message", library=record.name, line=record.lineno, level=record.levelname.lower(), fault=fault
        )
