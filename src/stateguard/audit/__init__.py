"""The static audit: shared mutable state that request code changes, read from the source."""

from stateguard.audit.options import AuditOptions
from stateguard.audit.run import audit

__all__ = ["AuditOptions", "audit"]
