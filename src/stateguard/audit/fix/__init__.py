"""Repairs that the audit can make itself. Needs libcst, which is imported only when asked for."""
